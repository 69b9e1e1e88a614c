//! Recipes: what is made of an original, and the id under which it is made only once.

use chain_of_custody::canonical;
use chain_of_custody::digest::Sha256;
use chain_of_custody::time::Timestamp;
use serde_json::{Value, json};

pub use crate::protocol::Recipe;
use crate::protocol::{Probe, ProbeParameters, Report};

/// The digest of a recipe as asked for: same original, same id, same job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecipeId(Sha256);

impl RecipeId {
    /// The id of `recipe`.
    pub fn of(recipe: &Recipe) -> Self {
        Self(Sha256::of(canonical_text(recipe).as_bytes()))
    }

    /// Enough of it to name a folder.
    pub fn short(self) -> String {
        self.to_string()[..16].to_owned()
    }
}

impl std::fmt::Display for RecipeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The recipe every item gets first: it decides what else can be made.
pub fn first() -> Recipe {
    Recipe::Probe(ProbeParameters::default())
}

/// All recipes, the first one first.
pub fn standard() -> Vec<Recipe> {
    vec![
        first(),
        Recipe::Proxy(Default::default()),
        Recipe::Poster(Default::default()),
        Recipe::Thumbnails(Default::default()),
        Recipe::Waveform(Default::default()),
        Recipe::Frames(Default::default()),
        Recipe::Scenes(Default::default()),
    ]
}

/// What is made of an original, given the `media` field of its probe. What a browser plays as it came is not made again.
pub fn after(media: &str) -> Vec<Recipe> {
    let media: Value = serde_json::from_str(media).unwrap_or_default();
    let streams = media["streams"].as_array().map_or(&[][..], Vec::as_slice);
    let has = |kind: &str| streams.iter().any(|stream| stream["kind"] == kind);
    let (picture, sound) = (has("video"), has("audio"));
    let plays = media["browser"]["plays"] == true;
    let is_still = media["container"].as_str().is_some_and(|name| name.ends_with("_pipe"));
    let is_wanted = |recipe: &Recipe| match recipe {
        Recipe::Probe(_) => false,
        Recipe::Proxy(_) => (picture || sound) && !plays,
        Recipe::Poster(_) => picture,
        Recipe::Waveform(_) => sound,
        Recipe::Thumbnails(_) | Recipe::Frames(_) | Recipe::Scenes(_) => picture && !is_still,
    };
    standard().into_iter().filter(is_wanted).collect()
}

/// The canonical form of a recipe as asked for.
pub fn canonical_text(recipe: &Recipe) -> String {
    text_of(&serde_json::to_value(recipe).expect("a recipe is plain data"))
}

/// Reads [`canonical_text`] back.
pub fn parse(text: &str) -> Option<Recipe> {
    serde_json::from_str(text).ok()
}

/// Whether this is a recipe that a program before this one asked for, and this one makes in another way.
pub fn is_superseded(text: &str) -> bool {
    let asked: Value = serde_json::from_str(text).unwrap_or_default();
    let ours = standard().into_iter().find(|recipe| asked["kind"] == recipe.kind());
    let ours = ours.map(|recipe| serde_json::to_value(recipe).expect("a recipe is plain data"));
    ours.is_some_and(|ours| asked["version"].as_u64() < ours["version"].as_u64())
}

/// The `recipe` field of `item.derived`: what was asked for (its digest is the recipe's id), and with which program,
/// libraries and codecs it was made.
pub fn made_text(recipe: &Recipe, report: &Report) -> String {
    text_of(&json!({
        "v": 1,
        "asked": recipe,
        "made-with": report.made_with,
        "notes": report.notes,
    }))
}

/// The `media` field of a probe's `item.derived`: nothing personal, so neither place nor tags. The camera's own time of
/// recording is a claim, kept only where it is an instant.
pub fn media_text(probe: &Probe) -> String {
    let created = probe.created_claimed.as_deref().and_then(instant);
    let streams: Vec<Value> = probe
        .streams
        .iter()
        .map(|s| json!({"kind": s.kind, "codec": s.codec, "video": s.video, "audio": s.audio}))
        .collect();
    text_of(&json!({
        "v": 1,
        "container": probe.container,
        "created-claimed": created.map(|at| at.to_string()),
        "duration-us": probe.duration_us,
        "streams": streams,
        "coverage": probe.coverage,
        "browser": probe.browser,
    }))
}

fn instant(text: &str) -> Option<Timestamp> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    Timestamp::from_unix_millis(instant.as_millisecond()).ok()
}

/// Canonical JSON. What a worker reports has integers only; one beyond 2⁵³ has no canonical form and is left out.
fn text_of(value: &Value) -> String {
    let bytes = canonical::to_bytes(value).or_else(|_| canonical::to_bytes(&small_numbers(value)));
    let bytes = bytes.expect("numbers that have no canonical form were left out");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

fn small_numbers(value: &Value) -> Value {
    match value {
        Value::Number(_) if canonical::to_bytes(value).is_err() => Value::Null,
        Value::Array(items) => items.iter().map(small_numbers).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), small_numbers(v))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ProxyParameters;

    #[test]
    fn ids_differ_with_every_parameter_and_stay_as_they_are() {
        let plain = Recipe::Proxy(ProxyParameters::default());
        let threads = Recipe::Proxy(ProxyParameters { threads: 3, ..Default::default() });
        assert_ne!(RecipeId::of(&plain), RecipeId::of(&threads));
        assert_eq!(parse(&canonical_text(&plain)), Some(plain.clone()));
        assert_eq!(canonical_text(&first()), r#"{"kind":"probe","version":1}"#);
        // `printf '{"kind":"probe","version":1}' | sha256sum`
        assert_eq!(RecipeId::of(&first()).short(), "5723baab2d0e5cf6");
    }

    #[test]
    fn older_recipes_are_told_from_newer_ones() {
        let of = |kind: &str, version: u32| format!(r#"{{"kind":"{kind}","version":{version}}}"#);
        assert!(is_superseded(&of("proxy", 2)));
        for current_or_newer in [of("proxy", 3), of("proxy", 4), of("hologram", 1)] {
            assert!(!is_superseded(&current_or_newer), "{current_or_newer}");
        }
    }

    #[test]
    fn a_worker_cannot_choose_a_number_without_canonical_form() {
        assert_eq!(text_of(&json!({"a": [u64::MAX, 1]})), r#"{"a":[null,1]}"#);
    }
}
