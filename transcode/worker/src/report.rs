//! Names the program and the libraries a derivative was made with.

use std::collections::BTreeMap;

use ffmpeg_next as ffmpeg;
use transcode_protocol::{MadeWith, Report};

/// A report on an output. `codecs` says what was used for picture and sound, and how.
pub(crate) fn report(
    codecs: impl IntoIterator<Item = (&'static str, String)>,
    threads: u32,
    notes: Vec<String>,
) -> Report {
    let codecs = codecs.into_iter().map(|(name, how)| (name.to_owned(), how)).collect();
    Report {
        made_with: MadeWith {
            program: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            libraries: libraries(),
            codecs,
            threads,
        },
        notes,
    }
}

fn libraries() -> BTreeMap<String, String> {
    let dotted = |v: u32| format!("{}.{}.{}", v >> 16, (v >> 8) & 0xff, v & 0xff);
    // SAFETY: both return numbers or static text.
    let (util, release) = unsafe {
        let release = std::ffi::CStr::from_ptr(ffmpeg::ffi::av_version_info());
        (ffmpeg::ffi::avutil_version(), release.to_string_lossy().into_owned())
    };
    [
        ("libavcodec", dotted(ffmpeg::codec::version())),
        ("libavfilter", dotted(ffmpeg::filter::version())),
        ("libavformat", dotted(ffmpeg::format::version())),
        ("libavutil", dotted(util)),
        ("libswresample", dotted(ffmpeg::software::resampling::version())),
        ("libswscale", dotted(ffmpeg::software::scaling::version())),
        ("ffmpeg", release),
    ]
    .into_iter()
    .map(|(name, version)| (name.to_owned(), version))
    .collect()
}
