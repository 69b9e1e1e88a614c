"""Uploads a file with tuspy.

    python tus_upload.py '{"endpoint": …, "token": …, "file": …, "chunk_size": …, "break_after_chunks": …}'

Each chunk carries a checksum, as tuspy does it (sha1). With break_after_chunks the first uploader is dropped there, and a
second one resumes from the URL alone. Prints one line of JSON: {"url", "item", "receipt", "offset_at_resume"}.
"""

import json
import os
import sys

from tusclient.client import TusClient


def main() -> None:
    wanted = json.loads(sys.argv[1])
    client = TusClient(wanted["endpoint"], headers={"Authorization": f"Bearer {wanted['token']}"})
    arguments = {
        "file_path": wanted["file"],
        "chunk_size": wanted["chunk_size"],
        "metadata": {"filename": os.path.basename(wanted["file"])},
        "upload_checksum": True,
    }
    uploader = client.uploader(**arguments)
    offset_at_resume = None
    if wanted.get("break_after_chunks"):
        for _ in range(wanted["break_after_chunks"]):
            uploader.upload_chunk()
        uploader = client.uploader(url=uploader.url, **arguments)
        offset_at_resume = uploader.offset
    uploader.upload()
    headers = {name.lower(): value for name, value in uploader.request.response_headers.items()}
    print(json.dumps({
        "url": uploader.url,
        "item": headers.get("exhibit-item"),
        "receipt": headers.get("exhibit-receipt"),
        "offset_at_resume": offset_at_resume,
    }))


main()
