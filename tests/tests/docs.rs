//! Documents say what is there: links resolve, commands exist, named tests exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where GitHub-style pages of ours may lie; generated folders are not ours.
const SKIPPED_FOLDERS: [&str; 6] =
    ["target", ".git", ".tools", "node_modules", "corpus", "artifacts"];

#[test]
fn links_lead_somewhere() {
    let mut checked = 0;
    for page in pages() {
        for link in links(&fs::read_to_string(&page).expect("a page")) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() {
                page.clone()
            } else {
                page.parent().expect("a folder").join(path)
            };
            assert!(target.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() && target.is_file() {
                let anchors = anchors(&fs::read_to_string(&target).expect("a page"));
                assert!(anchors.contains(anchor), "{}: {link}: {anchors:?}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} links found");
}

#[test]
fn commands_that_pages_tell_people_to_type_exist() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("the Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for target in after(&text, "make ") {
            assert!(targets.contains(target), "{}: `make {target}`", page.display());
            checked += 1;
        }
        for script in after(&text, "scripts/") {
            assert!(
                root().join("scripts").join(script).exists(),
                "{}: scripts/{script}",
                page.display()
            );
        }
    }
    assert!(checked > 3, "only {checked} commands found");
}

#[test]
fn make_help_lists_every_target() {
    let output = Command::new("make").arg("help").current_dir(root()).output().expect("make");
    let help = String::from_utf8(output.stdout).expect("text");
    for target in ["demo", "build", "test", "bench", "soak", "fuzz", "lint", "help", "setup"] {
        assert!(help.contains(&format!("make {target} ")), "{target} is not in:\n{help}");
    }
}

#[test]
fn tests_that_back_an_invariant_exist() {
    let page = fs::read_to_string(root().join("docs/invariants.md")).expect("the page");
    let mut rows = 0;
    for row in page.lines().filter(|line| is_invariant_or_fault(line)) {
        let backing = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
        rows += 1;
        for name in backing.split('`').skip(1).step_by(2).filter(|name| name.contains("::")) {
            assert_test_exists(name);
        }
    }
    assert!(rows >= 18 + 28, "only {rows} rows");
}

/// Every requirement of the validation names a test, and every test that is named is there.
#[test]
fn tests_that_a_validation_rests_on_exist() {
    let page = fs::read_to_string(root().join("docs/validation/README.md")).expect("the page");
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| requirement |");
    let mut rows = 0;
    for row in page.lines().filter(is_row) {
        let shown_by = row.split(" | ").nth(1).unwrap_or_default();
        let names = shown_by.split('`').skip(1).step_by(2).filter(|name| name.contains("::"));
        let named = names.inspect(|name| assert_test_exists(name)).count();
        assert!(named > 0, "nothing shows this: {row}");
        rows += 1;
    }
    assert!(rows >= 30, "only {rows} rows");
}

fn is_invariant_or_fault(line: &str) -> bool {
    let mut cells = line.split('|').skip(1).map(str::trim);
    let first = cells.next().unwrap_or_default();
    first.starts_with("**I") || first.parse::<u32>().is_ok()
}

#[test]
fn the_lock_of_npm_packages_names_no_registry() {
    let lock = fs::read_to_string(root().join("tests/peers/package-lock.json")).expect("the lock");
    assert!(lock.contains("\"integrity\""));
    assert!(!lock.contains("\"resolved\""), "made with omit-lockfile-registry-resolved?");
}

#[test]
fn ci_runs_make_test_and_nothing_else() {
    let script = fs::read_to_string(root().join(".ci/run")).expect(".ci/run");
    let commands: Vec<_> = script
        .lines()
        .filter(|line| {
            !line.starts_with('#') && !line.starts_with("set ") && !line.starts_with("cd ")
        })
        .collect();
    assert_eq!(commands, ["exec make test"]);
}

/// `path/file.rs::test_name`: a file of the repository and a function marked as a test in it.
fn assert_test_exists(name: &str) {
    let (file, function) = name.split_once("::").expect("file::test");
    let source =
        fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let start = source
        .find(&format!("fn {function}("))
        .unwrap_or_else(|| panic!("{file} has no function {function}"));
    let (before, _) = source[..start].rsplit_once('\n').unwrap_or_default();
    let marked = before
        .lines()
        .rev()
        .map(str::trim)
        .take_while(|line| !line.is_empty() && *line != "}")
        .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    // Macros that make tests of the functions they list, one for each database or each place.
    let listed = |macro_call: &str, end: &str| {
        let lists = source.split(macro_call).skip(1).filter_map(|rest| rest.split_once(end));
        lists.flat_map(|(names, _)| names.split(',')).any(|name| name.trim() == function)
    };
    let for_each = listed("on_both_databases!(", ");") || listed("everywhere! {", "}");
    assert!(marked || for_each, "{name} is not a test");
}

/// What the example with containers sets are settings that there are, and one configuration together.
#[test]
fn the_example_with_containers_can_be_configured() {
    let example = fs::read_to_string(root().join("deploy/compose/compose.yml")).expect("it");
    let settings = example.lines().filter_map(|line| {
        let (name, value) = line.trim().split_once(": \"")?;
        name.starts_with("EXHIBIT__").then_some((name, value.strip_suffix('"')?))
    });
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = std::process::Command::new(tests::programs::program("exhibit"));
    command.args(["config", "check", "--data"]).arg(folder.path()).envs(settings);
    tests::Answer::of(&mut command).ok();
    for script in ["start", "make-keys"] {
        let path = root().join("deploy/compose").join(script);
        let checked = std::process::Command::new("sh").arg("-n").arg(path).status();
        assert!(checked.expect("sh").success(), "{script}");
    }
}

/// The targets of `[text](target)`, outside code blocks.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for rest in line.split("](").skip(1) {
            if let Some(end) = rest.find(')') {
                found.push(rest[..end].to_owned());
            }
        }
    }
    found
}

/// The anchors that headings get: lower case, hyphens for spaces, punctuation dropped.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept =
                text.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The words that follow `prefix` where it is code: after a backtick, or at the start of a line of a code block.
fn after<'a>(page: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for line in page.lines() {
        let quoted = line.split('`').skip(1).step_by(2);
        let whole = (!line.contains('`')).then_some(line.trim_start_matches("$ "));
        for code in quoted.chain(whole) {
            if let Some(rest) = code.strip_prefix(prefix) {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
                let word = &rest[..end.unwrap_or(rest.len())];
                if !word.is_empty() {
                    found.push(word);
                }
            }
        }
    }
    found
}

fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    assert!(found.len() > 5, "{found:?}");
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !SKIPPED_FOLDERS.contains(&name) {
            collect(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the repository").to_owned()
}
