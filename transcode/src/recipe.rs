//! Recipes: what is made of an original, and the id under which it is made only once.

use chain_of_custody::canonical;
use chain_of_custody::digest::Sha256;
use chain_of_custody::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure::clean_message;
pub use crate::protocol::Recipe;
use crate::protocol::probe::are_ranges;
use crate::protocol::{
    Area, Cut, ExtractParameters, MAX_REDACTIONS, Probe, ProbeParameters, ProxyParameters,
    RedactionParameters, Report, Span,
};

/// What MP4 has a place for, as libav names it. QuickTime takes the rest.
const MP4_PICTURES: &[&str] = &["h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mjpeg"];
const MP4_SOUND: &[&str] = &["aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac"];

/// Field of `media` with the beginnings of ranges.
const RANGES_FROM: &str = "ranges-from-90k";

/// The digest of a recipe as asked for: same original, same id, same job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecipeId(Sha256);

impl RecipeId {
    /// The id of `recipe`.
    pub fn of(recipe: &Recipe) -> Self {
        Self(Sha256::of(canonical_text(recipe).as_bytes()))
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

/// All recipes that are asked for unasked, the first one first.
pub fn standard() -> Vec<Recipe> {
    vec![
        first(),
        Recipe::Front(Default::default()),
        Recipe::Proxy(Default::default()),
        Recipe::Poster(Default::default()),
        Recipe::Thumbnails(Default::default()),
        Recipe::Waveform(Default::default()),
        Recipe::Frames(Default::default()),
        Recipe::Scenes(Default::default()),
        Recipe::Location(Default::default()),
    ]
}

/// The smaller viewing copy, for poor lines: made when somebody asks for it, or of everything.
pub fn small_copy() -> Recipe {
    Recipe::ProxySmall(ProxyParameters::small())
}

/// What is made of an original, given the `media` field of its probe. What a browser plays as it came, or behind a front, is not made
/// again.
pub fn after(media: &str) -> Vec<Recipe> {
    follow(media, true)
}

/// The same where no front could be made after all.
pub fn after_without_front(media: &str) -> Vec<Recipe> {
    follow(media, false)
}

fn follow(media: &str, has_front: bool) -> Vec<Recipe> {
    let media: Value = serde_json::from_str(media).unwrap_or_default();
    let (picture, sound, is_still) = kinds(&media);
    let plays = media["browser"]["plays"] == true;
    let behind_front = has_front && media["browser"]["plays_behind_front"] == true;
    let is_wanted = |recipe: &Recipe| match recipe {
        Recipe::Probe(_)
        | Recipe::ProxySmall(_)
        | Recipe::ProxyRange(_)
        | Recipe::Joined(_)
        | Recipe::Extract(_)
        | Recipe::Redaction(_)
        | Recipe::Decoded(_) => false,
        Recipe::Front(_) => behind_front,
        Recipe::Proxy(_) => (picture || sound) && !plays && !behind_front,
        Recipe::Poster(_) => picture,
        Recipe::Waveform(_) => sound,
        Recipe::Thumbnails(_) | Recipe::Frames(_) | Recipe::Scenes(_) => picture && !is_still,
        Recipe::Location(_) => media["location-from"].as_array().is_some_and(|of| !of.is_empty()),
    };
    let mut wanted: Vec<_> = standard().into_iter().filter(is_wanted).collect();
    for recipe in &mut wanted {
        if let Recipe::Proxy(parameters) = recipe {
            parameters.ranges_from_90k = ranges_from(&media);
        }
    }
    wanted
}

/// Where ranges of a long recording begin, each but the first; none of a shorter one.
fn ranges_from(media: &Value) -> Vec<u64> {
    let from: Option<Vec<_>> =
        media[RANGES_FROM].as_array().and_then(|from| from.iter().map(Value::as_u64).collect());
    from.filter(|from| are_ranges(from)).unwrap_or_default()
}

/// What can be watched as soon as it is there, and decodes no pictures: it is made before all else of its item.
pub fn comes_first(kind: &str) -> bool {
    kind == FRONT
}

/// The kind of a front.
pub const FRONT: &str = "front";

/// What of a recording must not be shown, as somebody lists it: `docs/formats/redaction-list.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedactionList {
    /// Version of this format: 1.
    pub v: u32,
    #[serde(default)]
    pub areas: Vec<Area>,
    #[serde(default)]
    pub mutes: Vec<Span>,
    /// The part that is shown at all; all of it unless told.
    #[serde(default)]
    pub keep: Option<Span>,
}

/// Why no recipe follows from what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("the list is not readable: {0}")]
    List(String),
    #[error("the list has version {0}, and this program reads version 1")]
    Version(u32),
    #[error("the list takes nothing away: it has neither areas, nor mutes, nor a part to keep")]
    Nothing,
    #[error("the list has more than {MAX_REDACTIONS} areas or mutes")]
    TooMany,
    #[error("a part ends before it begins: {0} ms to {1} ms")]
    Backwards(u64, u64),
}

/// A part of an original. Without `exact`, from one picture that needs none before it to another, in a container that has a place
/// for what the probe found (`media`).
///
/// # Errors
/// [`AskError`].
pub fn extract(part: Span, exact: bool, media: &str) -> Result<Recipe, AskError> {
    checked(part)?;
    let media: Value = serde_json::from_str(media).unwrap_or_default();
    let streams = media["streams"].as_array().map_or(&[][..], Vec::as_slice);
    let codec = |kind: &str| {
        let first = streams.iter().find(|stream| stream["kind"] == kind);
        first.and_then(|stream| stream["codec"].as_str())
    };
    let fits = codec("video").is_none_or(|codec| MP4_PICTURES.contains(&codec))
        && codec("audio").is_none_or(|codec| MP4_SOUND.contains(&codec));
    let cut = match (exact, fits) {
        (true, _) => Cut::Exact,
        (false, true) => Cut::KeyframesMp4,
        (false, false) => Cut::KeyframesMov,
    };
    Ok(Recipe::Extract(ExtractParameters { version: 1, part, cut }))
}

/// A copy without what a list names. The list is JSON, as [`RedactionList`] has it.
///
/// # Errors
/// [`AskError`].
pub fn redaction(list: &str) -> Result<Recipe, AskError> {
    let list: RedactionList =
        serde_json::from_str(list).map_err(|error| AskError::List(error.to_string()))?;
    let RedactionList { v, areas, mutes, keep } = list;
    if v != 1 {
        return Err(AskError::Version(v));
    }
    if areas.is_empty() && mutes.is_empty() && keep.is_none() {
        return Err(AskError::Nothing);
    }
    if areas.len() > MAX_REDACTIONS || mutes.len() > MAX_REDACTIONS {
        return Err(AskError::TooMany);
    }
    let keep = keep.unwrap_or(Span::ALL);
    let of = |area: &Area| Span { from_ms: area.from_ms, to_ms: area.to_ms };
    let spans = areas.iter().map(of).chain(mutes.iter().copied()).chain([keep]);
    spans.into_iter().try_for_each(checked)?;
    Ok(Recipe::Redaction(RedactionParameters { version: 2, keep, areas, mutes }))
}

fn checked(span: Span) -> Result<(), AskError> {
    if span.is_some() { Ok(()) } else { Err(AskError::Backwards(span.from_ms, span.to_ms)) }
}

/// Whether a kind of derivative has a worker of its own: it is made of a part of the original, or in another way.
pub fn is_made_alone(kind: &str) -> bool {
    matches!(kind, "extract" | "redaction" | "proxy-range")
}

/// Whether what is asked for is made in ranges ([`crate::ranges`]).
pub fn is_in_ranges(text: &str) -> bool {
    parse(text).is_some_and(|recipe| !crate::ranges::of(&recipe).is_empty())
}

/// The smaller viewing copy of an original, where there is something to play in it.
pub fn small_copy_of(media: &str) -> Option<Recipe> {
    let (picture, sound, is_still) = kinds(&serde_json::from_str(media).unwrap_or_default());
    ((picture || sound) && !is_still).then(small_copy)
}

/// Whether there is a picture, whether there is sound, and whether the picture stands still.
fn kinds(media: &Value) -> (bool, bool, bool) {
    let streams = media["streams"].as_array().map_or(&[][..], Vec::as_slice);
    let has = |kind: &str| streams.iter().any(|stream| stream["kind"] == kind);
    let is_still = media["container"].as_str().is_some_and(|name| name.ends_with("_pipe"));
    (has("video"), has("audio"), is_still)
}

/// The canonical form of a recipe as asked for.
pub fn canonical_text(recipe: &Recipe) -> String {
    text_of(&serde_json::to_value(recipe).expect("a recipe is plain data"))
}

/// Reads [`canonical_text`] back; none for what this program makes in another way, or not at all.
pub fn parse(text: &str) -> Option<Recipe> {
    serde_json::from_str(text).ok().filter(|_| !is_superseded(text))
}

/// Whether this is a recipe that a program before this one asked for, and this one makes in another way.
pub fn is_superseded(text: &str) -> bool {
    let asked: Value = serde_json::from_str(text).unwrap_or_default();
    let mut all = standard().into_iter().chain([small_copy()]);
    let ours = all.find(|recipe| asked["kind"] == recipe.kind());
    let ours = ours.map(|recipe| serde_json::to_value(recipe).expect("a recipe is plain data"));
    ours.is_some_and(|ours| asked["version"].as_u64() < ours["version"].as_u64())
}

/// The `recipe` field of `item.derived`: what was asked for (its digest is the recipe's id), with which program, libraries and
/// codecs it was made, as that says itself, and which program file that was.
pub fn made_text(recipe: &Recipe, report: &Report, program: Option<Sha256>) -> String {
    text_of(&json!({
        "v": 1,
        "asked": recipe,
        "made-with": report.made_with,
        "notes": report.notes.iter().map(|note| clean_message(note)).collect::<Vec<_>>(),
        "program-sha256": program.map(|digest| digest.to_string()),
    }))
}

/// The `media` field of a probe's `item.derived`: nothing personal, so neither place nor tags, only what says a place. The camera's own time of
/// recording is a claim, kept only where it is an instant.
pub fn media_text(probe: &Probe) -> String {
    let created = probe.created_claimed.as_deref().and_then(instant);
    let streams: Vec<Value> = probe
        .streams
        .iter()
        .map(|s| json!({"kind": s.kind, "codec": s.codec, "video": s.video, "audio": s.audio}))
        .collect();
    let mut media = json!({
        "v": 1,
        "container": probe.container,
        "created-claimed": created.map(|at| at.to_string()),
        "duration-us": probe.duration_us,
        "streams": streams,
        "coverage": probe.coverage,
        "browser": probe.browser,
        "location-from": probe.location_from,
        "signatures": probe.signatures,
    });
    if !probe.ranges_from_90k.is_empty() {
        media[RANGES_FROM] = json!(probe.ranges_from_90k);
    }
    text_of(&media)
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

    #[test]
    fn ids_differ_with_every_parameter_and_stay_as_they_are() {
        let plain = Recipe::Proxy(ProxyParameters::default());
        let threads = Recipe::Proxy(ProxyParameters { threads: 3, ..Default::default() });
        assert_ne!(RecipeId::of(&plain), RecipeId::of(&threads));
        assert_eq!(parse(&canonical_text(&plain)), Some(plain.clone()));
        assert_eq!(canonical_text(&first()), r#"{"kind":"probe","version":3}"#);
        // `printf '{"kind":"probe","version":3}' | sha256sum`
        assert!(RecipeId::of(&first()).to_string().starts_with("4a9fe89744830c0b"));
    }

    #[test]
    fn older_recipes_are_told_from_newer_ones() {
        let of = |kind: &str, version: u32| format!(r#"{{"kind":"{kind}","version":{version}}}"#);
        assert!(is_superseded(&of("proxy", 3)));
        for current_or_newer in [of("proxy", 4), of("proxy", 5), of("hologram", 1)] {
            assert!(!is_superseded(&current_or_newer), "{current_or_newer}");
        }
    }

    #[test]
    fn a_worker_cannot_choose_a_number_without_canonical_form() {
        assert_eq!(text_of(&json!({"a": [u64::MAX, 1]})), r#"{"a":[null,1]}"#);
    }
}
