//! What each kind of derivative is as a file. Never guessed from its bytes.

use storage::records::DerivativeView;

/// What makes an MP4 of its original when it is put before it.
pub(crate) const FRONT: &str = "front";

/// Extension, with its dot, and media type.
pub(crate) fn file_type(view: &DerivativeView) -> (&'static str, &'static str) {
    match view.kind.as_str() {
        "extract" if is_quicktime(&view.recipe) => (".mov", "video/quicktime"),
        FRONT | "proxy" | "proxy-small" | "extract" | "redaction" => (".mp4", "video/mp4"),
        "poster" | "thumbnails" => (".jpg", "image/jpeg"),
        "probe" | "waveform" | "frames" | "scenes" => (".json", "application/json"),
        "location" => (".geojson", "application/geo+json"),
        _ => (".bin", "application/octet-stream"),
    }
}

fn is_quicktime(recipe: &str) -> bool {
    let recipe: serde_json::Value = serde_json::from_str(recipe).unwrap_or_default();
    recipe["asked"]["cut"] == "keyframes-mov"
}
