"""Reads an object at rest with Google Tink alone (PyPI `tink`), following docs/formats/objects-at-rest.md.

    tink_read.py PURPOSE KEY-FILE FILE [KEY-FILE FILE]...  < force-key-in-hex  > plaintext

PURPOSE is the associated data (exhibit/object/v1, exhibit/outboard/v1, "exhibit/small/v1 NAME"). Several files are the parts
of one object, in order. Anything that does not authenticate ends it with an error.
"""

import base64
import io
import sys

import tink
from tink import aead, proto_keyset_format, secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, aes_gcm_pb2, common_pb2, tink_pb2

WRAPPING = b"exhibit/object-key/v1"


def keyset(type_url, key):
    """A keyset of this one key, without Tink's own output prefix."""
    made = tink_pb2.Keyset(primary_key_id=1)
    entry = made.key.add(key_id=1, status=tink_pb2.ENABLED, output_prefix_type=tink_pb2.RAW)
    entry.key_data.type_url = "type.googleapis.com/google.crypto.tink." + type_url
    entry.key_data.value = key.SerializeToString()
    entry.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
    return proto_keyset_format.parse(made.SerializeToString(), secret_key_access.TOKEN)


def unwrap(force_key, path):
    with open(path, encoding="ascii") as file:
        first, kek, wrapped = file.read().splitlines()
    if first != "exhibit object key v1" or not kek.startswith("kek "):
        sys.exit("not an object key file")
    handle = keyset("AesGcmKey", aes_gcm_pb2.AesGcmKey(version=0, key_value=force_key))
    sealed = base64.b64decode(wrapped.removeprefix("wrapped "), validate=True)
    return handle.primitive(aead.Aead).decrypt(sealed, WRAPPING)


def streaming(object_key):
    """AES256_GCM_HKDF_1MB, as Tink's own template has it."""
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(version=0, key_value=object_key)
    key.params.ciphertext_segment_size = 1 << 20
    key.params.derived_key_size = 32
    key.params.hkdf_hash_type = common_pb2.SHA256
    return keyset("AesGcmHkdfStreamingKey", key).primitive(streaming_aead.StreamingAead)


def main():
    purpose, *files = sys.argv[1:]
    aead.register()
    streaming_aead.register()
    force_key = bytes.fromhex(sys.stdin.read().strip())
    for key_file, path in zip(files[::2], files[1::2], strict=True):
        cipher = streaming(unwrap(force_key, key_file))
        with open(path, "rb") as file:
            with cipher.new_decrypting_stream(io.BytesIO(file.read()), purpose.encode()) as plain:
                sys.stdout.buffer.write(plain.read())


if __name__ == "__main__":
    try:
        main()
    except tink.TinkError as error:
        sys.exit(f"tink: {error}")
