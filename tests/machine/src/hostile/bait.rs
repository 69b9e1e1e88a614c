//! What names files and hosts: playlists, scripts, descriptions of streams, subtitles, recordings whose media lie elsewhere.
//! Each names the [`Canary`].

use super::bases::Base;
use super::canary::Canary;
use super::elements::{self, Element};
use super::lies::replace;

/// A file that names others.
#[derive(Debug)]
pub(super) struct Bait {
    pub(super) what: String,
    pub(super) bytes: Vec<u8>,
    /// What Debian's ffmpeg has to be told to follow it; `None` where it does not, but some other program would.
    #[cfg_attr(not(test), allow(dead_code, reason = "shown once, by a test of its own"))]
    pub(super) followed_with: Option<&'static str>,
}

/// Every way of naming, with every way of saying where.
pub(super) fn all(canary: &Canary, bases: &[Base]) -> Vec<Bait> {
    let addresses = addresses(canary);
    let playlists = addresses.iter().flat_map(|(to, address)| playlists(to, address));
    let path = canary.file("clip.mp4").display().to_string();
    let recordings = bases.iter().filter(|base| ["mp4", "mov"].contains(&base.name));
    let recordings = recordings.flat_map(|base| recordings_elsewhere(base, &path));
    playlists
        .chain(descriptions(canary))
        .chain(recordings)
        .chain([subtitles_in_avi(canary)])
        .collect()
}

/// How a place can be written: what for, and the address.
fn addresses(canary: &Canary) -> Vec<(&'static str, String)> {
    let file = canary.file("clip.ts").display().to_string();
    let socket = canary.file("socket").display().to_string();
    let (tcp, udp) = (canary.tcp_port(), canary.udp_port());
    vec![
        ("a path", file.clone()),
        ("a file", format!("file://{file}")),
        ("http", format!("http://127.0.0.1:{tcp}/a.ts")),
        ("tcp", format!("tcp://127.0.0.1:{tcp}")),
        ("udp", format!("udp://127.0.0.1:{udp}?pkt_size=188")),
        ("rtmp", format!("rtmp://127.0.0.1:{tcp}/a/b")),
        ("rtsp", format!("rtsp://127.0.0.1:{tcp}/a")),
        ("a socket", format!("unix:{socket}")),
        ("a concatenation", format!("concat:{file}|{file}")),
        ("a part", format!("subfile,,start,0,end,9,,:{file}")),
        ("a cache", format!("cache:{file}")),
        ("a key", format!("crypto+file://{file}")),
    ]
}

/// What plays files one after another. Debian's ffmpeg follows some of them to some places.
fn playlists(to: &str, address: &str) -> Vec<Bait> {
    const HLS: &str = "-allowed_extensions ALL";
    const SCRIPT: &str = "-safe 0";
    let is_file_or_http = ["a file", "http"].contains(&to);
    let is_any = ["a path", "a file", "http", "tcp", "a socket", "a concatenation"].contains(&to);
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n";
    let bait = |what: &str, text: String, followed_with| Bait {
        what: format!("{what} to {to}"),
        bytes: text.into_bytes(),
        followed_with,
    };
    vec![
        bait(
            "HLS",
            format!("{head}#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n"),
            is_file_or_http.then_some(HLS),
        ),
        bait(
            "HLS of HLS",
            format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{address}\n"),
            is_file_or_http.then_some(HLS),
        ),
        bait(
            "HLS key",
            format!(
                "{head}#EXT-X-KEY:METHOD=AES-128,URI=\"{address}\"\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n"
            ),
            is_file_or_http.then_some(HLS),
        ),
        bait(
            "HLS beginning",
            format!("{head}#EXT-X-MAP:URI=\"{address}\"\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n"),
            is_file_or_http.then_some(HLS),
        ),
        bait(
            "concatenation",
            format!("ffconcat version 1.0\nfile '{address}'\nduration 1\nfile '{address}'\n"),
            is_any.then_some(SCRIPT),
        ),
        bait("PLS", format!("[playlist]\nFile1={address}\nNumberOfEntries=1\n"), None),
        bait(
            "ASX",
            format!("<asx version=\"3.0\"><entry><ref href=\"{address}\"/></entry></asx>"),
            None,
        ),
    ]
}

/// Descriptions of streams, drawings and texts.
fn descriptions(canary: &Canary) -> Vec<Bait> {
    let file = canary.file("clip.ts").display().to_string();
    let stem = canary.file("words").display().to_string();
    let (tcp, udp) = (canary.tcp_port(), canary.udp_port());
    let folder = canary.folder().display().to_string();
    let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
    let texts = [
        (
            "DASH",
            format!(
                "{xml}<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
                 profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\" mediaPresentationDuration=\"PT1S\"><Period>\
                 <AdaptationSet mimeType=\"video/mp4\"><Representation id=\"1\" bandwidth=\"1\">\
                 <BaseURL>http://127.0.0.1:{tcp}/a.mp4</BaseURL><SegmentBase indexRange=\"0-1\"/>\
                 </Representation></AdaptationSet></Period></MPD>"
            ),
            Some(""),
        ),
        (
            "SDP",
            format!(
                "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {udp} RTP/AVP 96\n\
                 a=rtpmap:96 H264/90000\n"
            ),
            None,
        ),
        ("RTSP redirect", format!("RTSPtext\nrtsp://127.0.0.1:{tcp}/a\n"), None),
        (
            "SVG",
            format!(
                "{xml}<svg xmlns=\"http://www.w3.org/2000/svg\"><image href=\"file://{file}\"/></svg>"
            ),
            None,
        ),
        (
            "XML entity",
            format!("{xml}<!DOCTYPE a [<!ENTITY b SYSTEM \"file://{file}\">]><MPD>&b;</MPD>"),
            None,
        ),
        (
            "XML bomb",
            format!(
                "{xml}<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">\
                 <!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;\">]>\
                 <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"&d;\"/>"
            ),
            None,
        ),
        (
            "VobSub",
            format!(
                "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n{stem}.sub\n"
            ),
            None,
        ),
        ("SRT", format!("1\n00:00:00,000 --> 00:00:01,000\n<img src=\"file://{file}\">\n"), None),
        (
            "ASS",
            format!(
                "[Script Info]\nScriptType: v4.00+\nVideo File: {file}\nAudio URI: file://{file}\n\n[Fonts]\nfontname: {file}\n"
            ),
            None,
        ),
        ("AviSynth", format!("AviSource(\"{file}\")\n"), None),
        ("Blu-ray film", format!("MPLS0200{file}"), None),
        (
            "cue sheet",
            format!("FILE \"{file}\" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n"),
            None,
        ),
        ("numbered pictures", format!("{folder}/frame%03d.jpg\n"), None),
        ("filter graph", format!("movie={file}[out0]"), None),
        (
            "IMF",
            format!(
                "{xml}<CompositionPlaylist xmlns=\"http://www.smpte-ra.org/schemas/2067-3/2016\">\
                 <Id>urn:uuid:00000000-0000-0000-0000-000000000000</Id><AssetMap>{file}</AssetMap></CompositionPlaylist>"
            ),
            None,
        ),
    ];
    let bait = |(what, text, followed_with): (&str, String, Option<&'static str>)| Bait {
        what: what.to_owned(),
        bytes: text.into_bytes(),
        followed_with,
    };
    texts.map(bait).into()
}

/// Recordings that say of their media that they lie in another file, in the three ways that QuickTime has.
fn recordings_elsewhere(base: &Base, path: &str) -> Vec<Bait> {
    let bait = |what: &str, bytes: Vec<u8>, followed_with| Bait {
        what: format!("{} {what}", base.name),
        bytes,
        followed_with,
    };
    let url = |address: &str| entry(*b"url ", &[&[0; 4], address.as_bytes(), &[0]].concat());
    vec![
        bait(
            "by alias",
            referring(&base.bytes, &entry(*b"alis", &alias(path))),
            Some("-enable_drefs 1 -use_absolute_path 1"),
        ),
        bait("by address", referring(&base.bytes, &url(&format!("file://{path}"))), None),
        bait("by film", film(path), None),
    ]
}

/// The recording with zeros for its media, and this for where they lie.
pub(super) fn referring(recording: &[u8], place: &[u8]) -> Vec<u8> {
    let mut file = recording.to_vec();
    let named = |file: &[u8], kind: &[u8]| -> Vec<Element> {
        elements::of(file).into_iter().filter(|one| &file[one.kind.clone()] == kind).collect()
    };
    for media in named(&file, b"mdat") {
        file[media.body..media.all.end].fill(0);
    }
    // From the last one on: those before stay where they are.
    for reference in named(&file, b"dref").iter().rev() {
        let new = entry(*b"dref", &[&[0, 0, 0, 0, 0, 0, 0, 1], place].concat());
        let all = elements::of(&file);
        replace(&mut file, &all, reference, reference.all.clone(), &new);
    }
    file
}

fn entry(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).expect("a short box").to_be_bytes();
    [&size[..], &kind, body].concat()
}

/// An alias record, of which all is zero but the absolute path.
fn alias(path: &str) -> Vec<u8> {
    const FIXED_BYTES: usize = 150;
    let path = path.replace('/', ":");
    let padded = path.len().next_multiple_of(2);
    let mut record = vec![0; 4 + FIXED_BYTES];
    record.extend([0, 2]);
    record.extend(u16::try_from(padded).expect("a short path").to_be_bytes());
    record.extend(path.bytes().chain(std::iter::repeat(0)).take(padded));
    record.extend([0xff, 0xff, 0, 0]);
    record
}

/// A film that is nothing but the address of another one.
fn film(path: &str) -> Vec<u8> {
    let address = format!("file://{path}\0");
    let length = u32::try_from(address.len()).expect("a short address").to_be_bytes();
    let reference = [&[0; 4], &b"url "[..], &length, address.as_bytes()].concat();
    let film = entry(*b"rmra", &entry(*b"rmda", &entry(*b"rdrf", &reference)));
    [entry(*b"ftyp", b"qt  \0\0\0\0"), entry(*b"moov", &film)].concat()
}

/// A playlist as the subtitles of an AVI file, which are read as a file of their own.
fn subtitles_in_avi(canary: &Canary) -> Bait {
    let playlist = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:{}/a.ts\n#EXT-X-ENDLIST\n",
        canary.tcp_port()
    );
    let number = |value: usize| u32::try_from(value).expect("a short file").to_le_bytes();
    let chunk = |kind: &[u8], body: &[u8]| [kind, &number(body.len())[..], body].concat();
    let list = |kind: &[u8], body: &[u8]| chunk(b"LIST", &[kind, body].concat());
    let header = [&b"txts"[..], &[0; 16], &number(1), &number(1), &[0; 28]].concat();
    let stream = [chunk(b"strh", &header), chunk(b"strf", &[])].concat();
    let headers = [chunk(b"avih", &[0; 56]), list(b"strl", &stream)].concat();
    let size = number(playlist.len());
    let words = [b"GAB2\0\x02\0", &number(0)[..], &[4, 0], &size, playlist.as_bytes()].concat();
    let media = list(b"movi", &chunk(b"00tx", &words));
    let bytes = chunk(b"RIFF", &[&b"AVI "[..], &list(b"hdrl", &headers), &media].concat());
    Bait { what: "playlist as subtitles".into(), bytes, followed_with: None }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::hostile::bases;

    /// What nobody would follow shows nothing. Debian's ffmpeg, told that it may, does.
    #[test]
    fn bait_is_taken_by_who_may_take_it() {
        let canary = Canary::new();
        let bases = bases::all();
        let clip = |name: &str| &bases.iter().find(|base| base.name == name).expect("it").bytes;
        canary.fill("clip.ts", clip("ts"));
        canary.fill("clip.mp4", clip("mp4"));
        let (mut taken, mut left) = (0, Vec::new());
        for bait in all(&canary, &bases) {
            let Some(told) = bait.followed_with else { continue };
            if is_followed(&canary, &bait.bytes, told) { taken += 1 } else { left.push(bait.what) }
        }
        assert!(left.is_empty(), "{taken} were followed, not these: {left:?}");
        assert!(taken > 15, "only {taken} baits");
    }

    fn is_followed(canary: &Canary, bytes: &[u8], told: &str) -> bool {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("it is written");
        let all = "file,http,tcp,udp,rtp,rtsp,rtmp,unix,concat,subfile,crypto,cache,data";
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "quiet", "-protocol_whitelist", all]);
        ffmpeg.args(told.split_whitespace()).arg("-i").arg(file.path());
        ffmpeg.args(["-f", "null", "-"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = ffmpeg.spawn().expect("scripts/setup test installs it");
        let began = Instant::now();
        let mut heard = Vec::new();
        while heard.is_empty() && began.elapsed() < Duration::from_secs(20) {
            let has_ended = process.try_wait().expect("it is ours").is_some();
            std::thread::sleep(Duration::from_millis(20));
            heard = canary.heard();
            if has_ended {
                break;
            }
        }
        let _ = process.kill();
        let _ = process.wait();
        // What it had begun is not the next one's.
        let _ = canary.heard();
        !heard.is_empty()
    }
}
