//! `evidence/items.json`: which file is which item, and which entry says so. A claim by the sender that every check
//! holds against the ledger; it only saves the checker from guessing.

use serde_json::{Value, json};

use super::Files;
use super::layout::{
    DERIVATIVES, ITEMS, MAX_PATH_CHARS, ORIGINALS, OUTBOARDS, RECEIPTS, check_path,
};
use crate::canonical;
use crate::ids::{ItemId, LeafIndex};
use crate::malformed::Malformed;
use crate::report::{Class, Code, Notes};

const FORMAT: &str = "list of items";
const VERSION: u64 = 1;
/// There, and `true`, where the whole original follows in the same file.
const BEFORE_ORIGINAL: &str = "before-original";
/// The most items in one bundle.
pub const MAX_ITEMS: usize = 10_000;

/// What a bundle holds, item by item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BundleItems {
    /// The entry of this hand-over.
    pub export: Option<LeafIndex>,
    pub items: Vec<BundleItem>,
}

/// One item: its original, the entry of its arrival, and what was made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleItem {
    pub item: ItemId,
    pub entry: LeafIndex,
    pub path: String,
    pub derivatives: Vec<DerivativeFile>,
}

/// One derivative and the entry that says how it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivativeFile {
    pub entry: LeafIndex,
    pub path: String,
    /// A front: the file is the derivative, and behind it the whole original once more.
    pub is_before_original: bool,
}

impl BundleItem {
    /// Where the bundle keeps this item's receipt.
    pub fn receipt_path(&self) -> String {
        format!("{RECEIPTS}{}.tlog-proof", self.item)
    }

    /// Where the bundle keeps the values of its original's 64 KiB groups.
    pub fn outboard_path(&self) -> String {
        format!("{OUTBOARDS}{}.obao", self.item)
    }
}

impl BundleItems {
    /// The file's canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let derivative = |d: &DerivativeFile| match d.is_before_original {
            true => json!({BEFORE_ORIGINAL: true, "entry": d.entry.0, "path": d.path}),
            false => json!({"entry": d.entry.0, "path": d.path}),
        };
        let item = |i: &BundleItem| {
            let derivatives: Vec<Value> = i.derivatives.iter().map(derivative).collect();
            json!({"derivatives": derivatives, "entry": i.entry.0, "item": i.item.to_string(), "path": i.path})
        };
        let items: Vec<Value> = self.items.iter().map(item).collect();
        let value =
            json!({"export": self.export.map(|index| index.0), "items": items, "v": VERSION});
        canonical::to_bytes(&value).expect("leaf indexes stay far below 2^53")
    }

    /// Reads the file. Strict: one form, known keys only, each item and each path once.
    ///
    /// # Errors
    /// [`Malformed`] with the reason.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let bad = |reason| Malformed::new(FORMAT, reason);
        let value = canonical::parse(bytes).map_err(|_| bad("it is not canonical JSON"))?;
        if value.get("v").and_then(Value::as_u64) != Some(VERSION) {
            return Err(bad("its version is not 1"));
        }
        let list =
            value.get("items").and_then(Value::as_array).ok_or_else(|| bad("it has no items"))?;
        if list.len() > MAX_ITEMS {
            return Err(bad("it lists too many items"));
        }
        let items = list.iter().map(parse_item).collect::<Option<_>>();
        let items = items.ok_or_else(|| bad("an item in it is not of its form"))?;
        let found =
            Self { export: value.get("export").and_then(Value::as_u64).map(LeafIndex), items };
        if found.to_bytes() != bytes {
            return Err(bad("it has a key or value that does not belong there"));
        }
        found.check_once().ok_or_else(|| bad("an item or a path is listed twice"))?;
        Ok(found)
    }

    fn check_once(&self) -> Option<()> {
        let mut seen = std::collections::BTreeSet::new();
        let mut once = |text: String| seen.insert(text).then_some(());
        for item in &self.items {
            once(item.item.to_string())?;
            once(item.path.clone())?;
            item.derivatives.iter().try_for_each(|derivative| once(derivative.path.clone()))?;
        }
        Some(())
    }
}

fn parse_item(value: &Value) -> Option<BundleItem> {
    let derivatives = value.get("derivatives")?.as_array()?.iter().map(|derivative| {
        Some(DerivativeFile {
            entry: LeafIndex(derivative.get("entry")?.as_u64()?),
            path: path_under(derivative, DERIVATIVES)?,
            is_before_original: derivative.get(BEFORE_ORIGINAL).is_some(),
        })
    });
    Some(BundleItem {
        item: value.get("item")?.as_str()?.parse().ok()?,
        entry: LeafIndex(value.get("entry")?.as_u64()?),
        path: path_under(value, ORIGINALS)?,
        derivatives: derivatives.collect::<Option<_>>()?,
    })
}

fn path_under(value: &Value, folder: &str) -> Option<String> {
    let path = value.get("path")?.as_str()?;
    let good = path.starts_with(folder) && path.len() <= MAX_PATH_CHARS && check_path(path).is_ok();
    good.then(|| path.to_owned())
}

/// The list, or a finding and an empty one.
pub(super) fn read(files: &Files<'_>, notes: &mut Notes) -> BundleItems {
    let Some(bytes) = files.required(ITEMS, notes) else { return BundleItems::default() };
    BundleItems::parse(bytes).unwrap_or_else(|error| {
        notes.note(
            Code::ListMalformed,
            Class::Record,
            ITEMS,
            format!("{ITEMS} cannot be read: {error}."),
        );
        BundleItems::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn round_trips_and_refuses_what_is_not_its_form() {
        let item: ItemId = "0193a7c2-0000-7000-8000-000000000001".parse().unwrap();
        let derivative = |entry, path: &str, is_before_original| DerivativeFile {
            entry: LeafIndex(entry),
            path: path.into(),
            is_before_original,
        };
        let derivatives = vec![
            derivative(4, "data/derivatives/001/proxy.mp4", false),
            derivative(5, "data/derivatives/001/front.mp4", true),
        ];
        let one = BundleItem {
            item,
            entry: LeafIndex(3),
            path: "data/originals/001-a.mp4".into(),
            derivatives,
        };
        let items = BundleItems { export: Some(LeafIndex(9)), items: vec![one.clone()] };
        let text = String::from_utf8(items.to_bytes()).unwrap();
        assert_eq!(BundleItems::parse(text.as_bytes()).unwrap(), items);
        let swaps = [
            ("other_version", "\"v\":1", "\"v\":2"),
            ("unknown_key", "\"v\":1", "\"v\":1,\"z\":1"),
            ("path_elsewhere", "data/originals/", "data/somewhere/"),
            ("path_leaves", "data/originals/001", "data/originals/.."),
            ("not_canonical", "{\"export\"", "{ \"export\""),
            ("before_nothing", "\"before-original\":true", "\"before-original\":false"),
        ];
        for (name, from, to) in swaps {
            assert!(BundleItems::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{name}");
        }
        let twice = BundleItems { export: None, items: vec![one.clone(), one] };
        assert!(BundleItems::parse(&twice.to_bytes()).is_err(), "item_twice");
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "[\\{\\}\\[\\]\":,a-z0-9]{0,120}") {
            let _ = BundleItems::parse(text.as_bytes());
        }
    }
}
