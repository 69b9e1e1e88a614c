//! Each malformed form by its name, with the reason the parser must give.

use chain_of_custody::checkpoint::Checkpoint;
use chain_of_custody::claim::{GivenName, Label};
use chain_of_custody::heads::Heads;
use chain_of_custody::malformed::Malformed;
use chain_of_custody::manifest::DockManifest;
use chain_of_custody::merkle::{EMPTY_ROOT, Frontier};
use chain_of_custody::note::{SignedNote, Signer, SigningKey, VerifierKey};
use chain_of_custody::policy::Policy;
use chain_of_custody::proof::TlogProof;
use chain_of_custody::receipt::{Receipt, ReceiptError, ReceiptText};
use chain_of_custody::tile::{TilePath, decode_entries, encode_entries};

use crate::common::{agent_key, example_ledger, log_key, manifest, witness_key};
use crate::receipts::receipt;
use crate::vectors::folder;

/// Runs named cases: each input is refused for exactly this reason.
fn refused<T: std::fmt::Debug, I: AsRef<[u8]>>(
    cases: Vec<(&str, I, &str)>,
    parse: impl Fn(&[u8]) -> Result<T, Malformed>,
) {
    for (name, input, reason) in cases {
        match parse(input.as_ref()) {
            Ok(value) => panic!("{name} was read as {value:?}"),
            Err(malformed) => assert_eq!(malformed.reason, reason, "{name}"),
        }
    }
}

fn text<T>(parse: impl Fn(&str) -> Result<T, Malformed>) -> impl Fn(&[u8]) -> Result<T, Malformed> {
    move |bytes| parse(std::str::from_utf8(bytes).unwrap())
}

fn stored(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// The text part of a stored statement.
fn statement(name: &str) -> String {
    SignedNote::parse(stored(name).as_bytes()).unwrap().text().to_owned()
}

#[test]
fn notes() {
    let good = stored("statements/receipt.txt");
    let (body, line) = good.split_once("\n\n").unwrap();
    let signatures = |count: usize| format!("{body}\n\n{}", line.repeat(count));
    assert!(SignedNote::parse(signatures(16).as_bytes()).is_ok());
    refused(
        vec![
            ("empty", String::new(), "no empty line before the signatures"),
            ("no_empty_line", good.replace("\n\n", "\n"), "no empty line before the signatures"),
            ("no_signature", format!("{body}\n\n"), "the last line has no newline"),
            ("no_last_newline", good.trim_end().into(), "the last line has no newline"),
            ("crlf", good.replace('\n', "\r\n"), "it holds a control character"),
            ("tab", good.replace("bytes ", "bytes\t"), "it holds a control character"),
            ("nul", format!("\0{good}"), "it holds a control character"),
            ("seventeen_signatures", signatures(17), "too many signatures"),
            (
                "hyphen_for_em_dash",
                good.replace('\u{2014}', "-"),
                "a signature line does not start with an em dash and a space",
            ),
            (
                "no_space_after_dash",
                good.replace("\u{2014} ", "\u{2014}"),
                "a signature line does not start with an em dash and a space",
            ),
            (
                "no_signature_bytes",
                format!("{body}\n\n\u{2014} name\n"),
                "a signature line has no signature",
            ),
            ("base64_without_padding", good.replace("=\n", "\n"), "a signature is not base64"),
            (
                "base64_url_alphabet",
                format!("{body}\n\n\u{2014} n AAAA_w==\n"),
                "a signature is not base64",
            ),
            (
                "base64_trailing_bits",
                format!("{body}\n\n\u{2014} n AAAAAAB=\n"),
                "a signature is not base64",
            ),
            (
                "two_words_after_name",
                format!("{body}\n\n\u{2014} n AAAA BBBB\n"),
                "a signature is not base64",
            ),
            (
                "key_id_alone",
                format!("{body}\n\n\u{2014} n AAAAAA==\n"),
                "a signature is too short",
            ),
            ("key_id_cut", format!("{body}\n\n\u{2014} n AAAA\n"), "a signature is too short"),
            (
                "signature_of_9_KiB",
                format!("{body}\n\n\u{2014} n {}\n", "AAAA".repeat(3072)),
                "a signature is too long",
            ),
            ("empty_name", format!("{body}\n\n\u{2014}  AAAAAAA=\n"), "it is empty"),
            (
                "plus_in_name",
                format!("{body}\n\n\u{2014} a+b AAAAAAA=\n"),
                "it holds a space, a plus or a control character",
            ),
            (
                "wide_space_in_name",
                format!("{body}\n\n\u{2014} a\u{3000}b AAAAAAA=\n"),
                "it holds a space, a plus or a control character",
            ),
            (
                "name_of_256_bytes",
                format!("{body}\n\n\u{2014} {} AAAAAAA=\n", "n".repeat(256)),
                "it is too long",
            ),
            ("a_million_bytes", format!("{}{good}", "a\n".repeat(500_000)), "it is too long"),
        ],
        SignedNote::parse,
    );
    refused(
        vec![("not_utf8", b"caf\xe9\n\n\xe2\x80\x94 n AAAAAAA=\n", "it is not UTF-8")],
        SignedNote::parse,
    );
    for (name, bad) in [("no_newline", "text"), ("control", "a\tb\n"), ("empty", "")] {
        assert!(SignedNote::sign(bad, &[&agent_key()]).is_err(), "{name}");
    }
    assert!(SignedNote::sign("text\n", &[]).is_err());
    assert!(SigningKey::from_seed("a b", [1; 32]).is_err());
}

#[test]
fn verifier_keys() {
    let good = log_key().vkey().to_string();
    let (name, rest) = good.split_once('+').unwrap();
    let (id, key) = rest.split_once('+').unwrap();
    let other_type = chain_of_custody::note::KeyType::CosignatureV1;
    let as_witness = VerifierKey::new(
        log_key().vkey().name().clone(),
        other_type,
        log_key().vkey().public_key(),
    );
    let witness_bytes = as_witness.unwrap().to_string().splitn(3, '+').nth(2).unwrap().to_owned();
    refused(
        vec![
            ("empty", String::new(), "it is not name+id+key"),
            ("name_alone", name.into(), "it is not name+id+key"),
            ("no_key", format!("{name}+{id}"), "it is not name+id+key"),
            ("empty_name", format!("+{id}+{key}"), "it is empty"),
            (
                "another_name",
                format!("other.example+{id}+{key}"),
                "the key id does not belong to the key",
            ),
            (
                "upper_case_id",
                format!("{name}+{}+{key}", id.to_uppercase()),
                "the key id does not belong to the key",
            ),
            (
                "id_of_7_digits",
                format!("{name}+{}+{key}", &id[1..]),
                "the key id does not belong to the key",
            ),
            (
                "another_type",
                format!("{name}+{id}+{witness_bytes}"),
                "the key id does not belong to the key",
            ),
            ("not_base64", format!("{name}+{id}+!"), "the key is not base64"),
            ("key_empty", format!("{name}+{id}+"), "the key is empty"),
            ("type_unknown", format!("{name}+{id}+/w=="), "the signature type is unknown"),
            ("ml_dsa_44", format!("{name}+{id}+Bg=="), "ML-DSA-44 keys are not supported yet"),
            ("key_of_2_bytes", format!("{name}+{id}+AQEB"), "the key has the wrong length"),
            ("newline_at_end", format!("{good}\n"), "the key is not base64"),
        ],
        text(VerifierKey::parse),
    );
}

#[test]
fn checkpoints() {
    let good = example_ledger().checkpoint().to_text();
    let root = good.lines().nth(2).unwrap().to_owned();
    refused(
        vec![
            ("empty", String::new(), "no newline at the end"),
            ("no_last_newline", good.trim_end().into(), "no newline at the end"),
            ("two_lines", "ledger.example\n5\n".into(), "it has fewer than three lines"),
            ("extension_line", format!("{good}more\n"), "it has extension lines"),
            ("empty_line", format!("{good}\n"), "it has extension lines"),
            ("empty_origin", format!("\n5\n{root}\n"), "it is empty"),
            (
                "origin_with_space",
                format!("my ledger\n5\n{root}\n"),
                "it holds a space, a plus or a control character",
            ),
            ("leading_zero", good.replace("\n260\n", "\n0260\n"), "the size is no decimal number"),
            ("plus_sign", good.replace("\n260\n", "\n+260\n"), "the size is no decimal number"),
            ("negative", good.replace("\n260\n", "\n-1\n"), "the size is no decimal number"),
            ("hexadecimal", good.replace("\n260\n", "\n0x10\n"), "the size is no decimal number"),
            (
                "other_digits",
                good.replace("\n260\n", "\n\u{0662}\n"),
                "the size is no decimal number",
            ),
            (
                "size_of_2_to_64",
                good.replace("\n260\n", "\n18446744073709551616\n"),
                "the size is no decimal number",
            ),
            ("no_size", good.replace("\n260\n", "\n\n"), "the size is no decimal number"),
            (
                "root_of_31_bytes",
                format!("l\n5\n{}\n", "A".repeat(40) + "AA=="),
                "the root is not 32 bytes of base64",
            ),
            (
                "root_in_hex",
                format!("l\n5\n{}\n", "ab".repeat(32)),
                "the root is not 32 bytes of base64",
            ),
            (
                "space_after_root",
                good.replace(&root, &format!("{root} ")),
                "the root is not 32 bytes of base64",
            ),
            (
                "empty_tree_with_root",
                good.replace("\n260\n", "\n0\n"),
                "an empty tree with another root",
            ),
        ],
        text(Checkpoint::parse),
    );
    assert!(Checkpoint::parse(&format!("l\n0\n{EMPTY_ROOT}\n")).is_ok());
}

#[test]
fn proof_files() {
    let good = receipt().to_string();
    let (head, checkpoint) = good.split_once("\n\n").unwrap();
    let hash = head.lines().last().unwrap().to_owned();
    let extra = head.lines().nth(1).unwrap().to_owned();
    let (no_index, bad_extra) =
        ("no index line with a decimal number", "the extra line is not base64");
    refused(
        vec![
            ("empty", String::new(), "no empty line before the checkpoint"),
            ("no_checkpoint", head.into(), "no empty line before the checkpoint"),
            (
                "version_2",
                good.replace("@v1", "@v2"),
                "the first line is not c2sp.org/tlog-proof@v1",
            ),
            ("crlf", good.replace('\n', "\r\n"), "no empty line before the checkpoint"),
            ("extra_empty", good.replace(&extra, "extra"), bad_extra),
            ("extra_not_base64", good.replace(&extra, "extra {}"), bad_extra),
            ("extra_with_tab", good.replace("extra ", "extra\t"), bad_extra),
            ("extra_twice", good.replace(&extra, &format!("{extra}\n{extra}")), no_index),
            (
                "extra_after_index",
                good.replace(&format!("{extra}\nindex 2\n"), &format!("index 2\n{extra}\n")),
                "a path line is not 32 bytes of base64",
            ),
            ("no_index", good.replace("index 2\n", ""), no_index),
            ("index_with_zero", good.replace("index 2", "index 02"), no_index),
            ("index_negative", good.replace("index 2", "index -2"), no_index),
            ("path_not_base64", good.replace(&hash, "!"), "a path line is not 32 bytes of base64"),
            (
                "path_line_of_33_bytes",
                good.replace(&hash, &"A".repeat(44)),
                "a path line is not 32 bytes of base64",
            ),
            (
                "65_hashes",
                good.replace(&hash, &vec![hash.clone(); 64].join("\n")),
                "too many hashes",
            ),
            (
                "checkpoint_unsigned",
                format!("{head}\n\nledger.example\n5\nx\n"),
                "no empty line before the signatures",
            ),
            ("two_empty_lines", format!("{head}\n\n\n{checkpoint}"), "it has extension lines"),
        ],
        TlogProof::parse,
    );
    refused(
        vec![("not_utf8", b"c2sp.org/tlog-proof@v1\n\xff\n\n".to_vec(), "it is not UTF-8")],
        TlogProof::parse,
    );
    let huge = [b"c2sp.org/tlog-proof@v1\n".as_slice(), &vec![b'a'; 2_000_000]].concat();
    refused(vec![("two_million_bytes", huge, "it is too long")], TlogProof::parse);
}

#[test]
fn receipts() {
    use base64::Engine as _;
    let good = receipt().to_string();
    let extra_line = good.lines().nth(1).unwrap().to_owned();
    let base64 = base64::engine::general_purpose::STANDARD;
    let extra = base64.decode(extra_line.strip_prefix("extra ").unwrap()).unwrap();
    let extra = String::from_utf8(extra).unwrap();
    let with =
        |extra: String| good.replace(&extra_line, &format!("extra {}", base64.encode(extra)));
    let reason = |bytes: String| match Receipt::parse(bytes.as_bytes()) {
        Err(ReceiptError::Malformed(malformed)) => malformed.reason.to_owned(),
        Err(ReceiptError::Entry(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let opening = &extra[extra.find("{\"name\"").unwrap()..=extra.find("},{\"name\"").unwrap()];
    let cases = [
        (
            "no_extra",
            good.replace(&format!("{extra_line}\n"), ""),
            "the proof file has no extra line",
        ),
        ("extra_not_json", with("{".into()), "the extra is not canonical JSON"),
        (
            "extra_with_space",
            with(extra.replace(",\"openings\"", ", \"openings\"")),
            "the extra is not canonical JSON",
        ),
        ("extra_is_array", with("[]".into()), "the extra is not an object of entry and openings"),
        (
            "unknown_key",
            with(extra.replacen("{\"entry\"", "{\"also\":1,\"entry\"", 1)),
            "the extra is not an object of entry and openings",
        ),
        (
            "no_openings",
            with("{\"entry\":{}}".into()),
            "the extra is not an object of entry and openings",
        ),
        (
            "openings_not_array",
            with("{\"entry\":{},\"openings\":{}}".into()),
            "openings is not an array",
        ),
        (
            "opening_twice",
            with(extra.replacen(opening, &format!("{opening},{opening}"), 1)),
            "the openings are not by name, each once",
        ),
        (
            "openings_reordered",
            with(extra.replacen(opening, "", 1).replacen("[,", "[", 1).replacen(
                "}]}",
                &format!("}},{opening}]}}"),
                1,
            )),
            "the openings are not by name, each once",
        ),
        (
            "entry_of_version_2",
            with(extra.replace("\"v\":1}", "\"v\":2}")),
            "entry version 2 is not known here",
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_ne!(bytes, good, "{name} changes nothing");
        assert_eq!(reason(bytes), expected, "{name}");
    }
}

#[test]
fn policies() {
    let log = log_key().vkey();
    let [w1, w2] = [witness_key(1).vkey(), witness_key(2).vkey()];
    let named = format!("log {log}\nwitness w1 {w1}\nwitness w2 {w2}\n");
    let with = |rest: &str| format!("{named}{rest}");
    let (used, threshold) = (
        "a name is used before it is defined",
        "the threshold of a group is not all, any or a number from 1 to its members",
    );
    let words = "a line has too few or too many words";
    refused(
        vec![
            ("empty", String::new(), "it has no quorum line"),
            ("no_quorum", with(""), "it has no quorum line"),
            ("no_last_newline", with("quorum none"), "the last line has no newline"),
            ("two_quorums", with("quorum none\nquorum w1\n"), "it has two quorum lines"),
            ("quorum_unknown", with("quorum w3\n"), used),
            ("quorum_before_group", with("quorum g\ngroup g any w1\n"), used),
            ("group_before_member", with("group g any h\ngroup h any w1\nquorum g\n"), used),
            ("group_of_itself", with("group g any g\nquorum g\n"), used),
            ("member_none", with("group g any none\nquorum g\n"), used),
            (
                "group_called_none",
                with("group none any w1\nquorum none\n"),
                "none cannot be the name of a log witness or group",
            ),
            (
                "group_named_as_witness",
                with("group w1 any w2\nquorum w1\n"),
                "a name is defined twice",
            ),
            (
                "group_twice",
                with("group g any w1\ngroup g any w2\nquorum g\n"),
                "a name is defined twice",
            ),
            (
                "member_twice_of_one",
                with("group g 2 w1 w1\nquorum g\n"),
                "a name is the member of two groups, or twice of one",
            ),
            (
                "member_of_two",
                with("group g any w1\ngroup h any w1\nquorum h\n"),
                "a name is the member of two groups, or twice of one",
            ),
            ("no_members", with("group g any\nquorum g\n"), "a group has no members"),
            ("threshold_zero", with("group g 0 w1\nquorum g\n"), threshold),
            ("threshold_leading_zero", with("group g 01 w1\nquorum g\n"), threshold),
            ("threshold_over", with("group g 3 w1 w2\nquorum g\n"), threshold),
            ("threshold_word", with("group g most w1\nquorum g\n"), threshold),
            ("threshold_huge", with("group g 99999999999999999999 w1\nquorum g\n"), threshold),
            ("log_twice", with(&format!("log {log}\nquorum none\n")), "a log is listed twice"),
            (
                "witness_twice",
                with(&format!("witness w3 {w1}\nquorum none\n")),
                "a log witness is listed twice",
            ),
            (
                "log_with_witness_key",
                format!("log {w1}\nquorum none\n"),
                "the key of a log is not of type 0x01",
            ),
            (
                "witness_with_log_key",
                format!("witness w {log}\nquorum none\n"),
                "the key of a log witness is not of type 0x04",
            ),
            ("log_without_key", "log\nquorum none\n".into(), words),
            ("log_with_3_words", format!("log {log} url more\nquorum none\n"), words),
            ("quorum_of_two", with("quorum w1 w2\n"), words),
            ("unknown_word", with("trust me\nquorum none\n"), "a line starts with an unknown word"),
            ("comment_at_end_of_line", with("quorum none # all\n"), words),
            ("crlf", with("quorum none\r\n"), "it holds a control character"),
            ("delete_character", with("# \u{7f}\nquorum none\n"), "it holds a control character"),
            (
                "too_long",
                format!("#{}\n{}", "a".repeat(70_000), with("quorum none\n")),
                "it is too long",
            ),
        ],
        Policy::parse,
    );
}

#[test]
fn tile_paths() {
    let (digits, spelling) =
        ("the index is not groups of three digits", "it is not in its one spelling");
    let width = "the width of a partial tile is not between 1 and 255";
    refused(
        vec![
            ("empty", "", "it does not start with tile/"),
            ("leading_slash", "/tile/0/000", "it does not start with tile/"),
            ("no_index", "tile/0", "it has no index"),
            ("index_empty", "tile/0/", digits),
            ("two_digits", "tile/0/00", digits),
            ("four_digits", "tile/0/0000", digits),
            ("sign", "tile/0/+01", digits),
            ("last_group_with_x", "tile/0/x001", digits),
            ("first_group_without_x", "tile/0/001/000", digits),
            ("needless_group", "tile/0/x000/000", spelling),
            ("parent_folder", "tile/0/x001/../000", digits),
            ("leading_zero_level", "tile/00/000", spelling),
            ("level_8", "tile/8/000", "the level is too high"),
            ("level_256", "tile/256/000", "the level is no number"),
            ("level_word", "tile/data/000", "the level is no number"),
            ("width_0", "tile/0/000.p/0", "the width is not between 1 and 256"),
            ("width_256", "tile/0/000.p/256", width),
            ("width_leading_zero", "tile/0/000.p/01", spelling),
            ("width_word", "tile/0/000.p/", width),
            ("beyond_the_level", "tile/7/001", "the index is too large"),
            ("beyond_2_64", "tile/0/x999/x999/x999/x999/x999/x999/x999/999", digits),
        ],
        text(|t| t.parse::<TilePath>()),
    );
}

#[test]
fn entry_bundles() {
    refused(
        vec![
            ("empty", Vec::new(), "it holds no entry"),
            ("half_a_length", vec![0], "it ends inside an entry"),
            ("entry_cut", vec![0, 5, b'a'], "it ends inside an entry"),
            ("trailing_byte", vec![0, 1, b'a', 0], "it ends inside an entry"),
            ("257_entries", [0, 1, b'a'].repeat(257), "it holds more than 256 entries"),
        ],
        |bytes: &[u8]| decode_entries(bytes).map(|entries| entries.len()),
    );
    assert!(encode_entries::<Vec<u8>>(&[]).is_err());
    assert!(encode_entries(&[vec![0; 65_536]]).is_err());
    assert!(encode_entries(&vec![b"a"; 257]).is_err());
    let widest = vec![vec![7; 65_535]; 256];
    assert_eq!(decode_entries(&encode_entries(&widest).unwrap()).unwrap(), widest);
}

#[test]
fn frontiers() {
    let hash = [1u8; 32];
    let of =
        |size: u64, hashes: usize| [size.to_be_bytes().as_slice(), &hash.repeat(hashes)].concat();
    refused(
        vec![
            ("empty", Vec::new(), "it is too short"),
            ("size_cut", vec![0; 7], "it is too short"),
            ("a_hash_less", of(3, 1), "the number of hashes does not fit the size"),
            ("a_hash_more", of(4, 2), "the number of hashes does not fit the size"),
            ("hash_cut", of(1, 1)[..39].to_vec(), "it does not end with a whole hash"),
        ],
        Frontier::from_bytes,
    );
}

#[test]
fn dock_manifests() {
    let good = manifest().to_text();
    let swap = |a: &str, b: &str| good.replace(a, b);
    let sha = format!("sha256 {}", manifest().digests.sha256);
    let blake = format!("blake3 {}", manifest().digests.blake3);
    refused(
        vec![
            ("empty", String::new(), "no newline at the end"),
            ("version_2", swap(" v1\n", " v2\n"), "the title or its version is another"),
            ("no_last_newline", good.trim_end().into(), "no newline at the end"),
            ("line_missing", swap(&format!("{sha}\n"), ""), "sha256"),
            (
                "lines_swapped",
                swap(&format!("{sha}\n{blake}"), &format!("{blake}\n{sha}")),
                "sha256",
            ),
            ("line_twice", swap(&sha, &format!("{sha}\n{sha}")), "blake3"),
            ("line_more", format!("{good}more 1\n"), "a line too many or out of order"),
            ("empty_line_at_end", format!("{good}\n"), "a line too many or out of order"),
            ("upper_case_digest", swap(&sha, &sha.to_uppercase().replace("SHA", "sha")), "sha256"),
            ("digest_short", swap(&sha, &sha[..sha.len() - 1]), "sha256"),
            ("bytes_with_zero", swap("bytes 19", "bytes 019"), "bytes"),
            ("bytes_with_unit", swap("bytes 19", "bytes 19B"), "bytes"),
            ("two_spaces", swap("bytes 19", "bytes  19"), "bytes"),
            ("value_missing", swap("bytes 19", "bytes"), "bytes"),
            ("name_unquoted", swap("name \"", "name "), "name"),
            ("name_needless_escape", swap("name \"C", "name \"\\u0043"), "name"),
            (
                "name_empty",
                format!("dock manifest v1\nname \"\"\n{}", good.split_once("\nbytes").unwrap().1),
                "name",
            ),
            ("camera_empty", swap("camera AXW100-ACCC8E000001", "camera "), "camera"),
            ("camera_turns_text", swap("camera AXW", "camera \u{202e}AXW"), "camera"),
            ("times_without_millis", swap("11.000Z", "11Z"), "captured-claimed"),
            ("one_time", swap("/2026-11-22T16:58:02.000Z", ""), "captured-claimed"),
            ("seq_unknown", swap("agent-seq 57", "agent-seq -"), "agent-seq"),
            ("seq_negative", swap("agent-seq 57", "agent-seq -1"), "agent-seq"),
        ],
        text(DockManifest::parse),
    );
}

#[test]
fn receipt_texts() {
    let good = statement("statements/receipt.txt");
    let swap = |a: &str, b: &str| {
        assert!(good.contains(a));
        good.replace(a, b)
    };
    refused(
        vec![
            (
                "another_statement",
                statement("statements/progress-receipt.txt"),
                "the title or its version is another",
            ),
            ("item_upper_case", swap("f00d\n", "F00D\n"), "item"),
            ("read_by_unknown", swap("read-by dock-7.essex.example", "read-by -"), "read-by"),
            (
                "camera_signature_word",
                swap("camera-signature absent", "camera-signature maybe"),
                "camera-signature",
            ),
            ("clock_word", swap("clock synchronised ntp \u{b1}12ms", "clock fine"), "clock"),
            ("clock_zero", swap("\u{b1}12ms", "\u{b1}012ms"), "clock"),
            ("clock_without_source", swap("synchronised ntp ", "synchronised  "), "clock"),
            ("copies_word", swap("copies 2", "copies two"), "copies"),
            ("entry_missing", swap("entry 2\n", ""), "entry"),
            (
                "time_with_offset",
                swap("received 2026-11-22T18:04:07.000Z", "received 2026-11-22T18:04:07.000+00:00"),
                "received",
            ),
        ],
        text(ReceiptText::parse),
    );
}

#[test]
fn heads_statements() {
    let good = statement("statements/heads.txt");
    let swap = |a: &str, b: &str| {
        assert!(good.contains(a));
        good.replace(a, b)
    };
    let lines: Vec<&str> = good.lines().filter(|line| line.starts_with("subject")).collect();
    let (order, cannot) =
        ("the subjects are not in order, each once", "a head cannot be in a tree of this size");
    refused(
        vec![
            ("version_2", swap("heads v1", "heads v2"), "the title or its version is another"),
            ("ledger_missing", swap("ledger ", "origin "), "ledger"),
            ("root_short", swap("root ", "root A"), "root"),
            (
                "out_of_order",
                swap(
                    &format!("{}\n{}", lines[0], lines[1]),
                    &format!("{}\n{}", lines[1], lines[0]),
                ),
                order,
            ),
            ("subject_twice", swap(lines[1], &format!("{0}\n{0}", lines[1])), order),
            (
                "subject_twice_differs",
                swap(lines[1], &format!("{}\n{}", lines[1], lines[1].replace(" 2 1", " 3 1"))),
                order,
            ),
            ("subject_kind", swap("subject force:", "subject farce:"), "subject"),
            ("three_numbers", swap(" 259 259", " 259 259 1"), "subject"),
            ("one_number", swap(" 259 259", " 259"), "subject"),
            ("last_beyond_size", swap(" 259 259", " 260 259"), cannot),
            ("count_zero", swap(" 259 259", " 259 0"), cannot),
            ("count_beyond_last", swap(" 259 259", " 259 261"), cannot),
            ("line_after", format!("{good}more 1\n"), "a line too many or out of order"),
        ],
        text(Heads::parse),
    );
}

#[test]
fn claims() {
    for (name, bad) in [
        ("empty", ""),
        ("the_unknown_mark", "-"),
        ("newline", "a\nb"),
        ("leading_space", " a"),
        ("trailing_space", "a "),
        ("direction", "a\u{2066}b"),
        ("line_separator", "a\u{2028}b"),
        ("delete", "a\u{7f}"),
    ] {
        assert!(Label::new(bad).is_err(), "{name}");
    }
    assert!(Label::new(&"a".repeat(200)).is_ok() && Label::new(&"a".repeat(201)).is_err());
    assert!(GivenName::new("").is_err() && GivenName::new(&"a".repeat(1025)).is_err());
    let hostile = "../../etc/passwd\n\u{202e}\0\"\\";
    assert_eq!(
        GivenName::new(hostile).unwrap().to_string().parse::<GivenName>().unwrap().as_str(),
        hostile
    );
}
