//! Holds docs/architecture.md to the crate graph, and the crate graph to its walls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::{env, fs};

use serde_json::Value;

/// Crates whose presence below a pure room would mean that it can do what it must not.
const IMPURE: [&str; 14] = [
    "axum",
    "aws",
    "ffmpeg",
    "hyper",
    "h2",
    "libsqlite3",
    "mio",
    "notify",
    "openssl",
    "reqwest",
    "rustls",
    "socket2",
    "sqlx",
    "tokio",
];
const LIBAV: [&str; 2] = ["ffmpeg-next", "ffmpeg-sys-next"];
/// What the core's source must not name: files, sockets, processes, the clock, random numbers.
const IMPURE_SOURCE: [&str; 14] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread::sleep",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "Uuid::now_v7",
    "Uuid::new_v4",
    "OsRng",
    "rand::",
    "getrandom",
];

type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_import_table_is_the_crate_graph() {
    let written = import_table(&read("docs/architecture.md"));
    let members = METADATA.imports_between_members();
    assert_eq!(written, members, "docs/architecture.md (left) and Cargo.toml (right) differ");
}

#[test]
fn ways_in_ways_out_and_transcoding_do_not_know_each_other() {
    let metadata = &*METADATA;
    let rooms = ["ingest", "portal", "transcode"];
    for room in rooms {
        let below = metadata.everything_below(room, Depth::Shipped);
        for other in rooms.iter().filter(|other| **other != room) {
            assert!(!below.contains(*other), "{room} imports {other}");
        }
    }
}

#[test]
fn the_verifier_and_the_core_pull_in_no_runtime_database_network_or_libav() {
    let metadata = &*METADATA;
    for package in ["exhibit-verify", "chain-of-custody"] {
        let below = metadata.everything_below(package, Depth::Shipped);
        assert!(below.contains("sha2"), "the walk below {package} found too little: {below:?}");
        let impure: Vec<_> = below
            .iter()
            .filter(|name| IMPURE.iter().any(|impure| name.starts_with(impure)))
            .collect();
        assert!(impure.is_empty(), "{package} pulls in {impure:?}");
    }
}

#[test]
fn libav_is_reached_from_the_worker_only() {
    let metadata = &*METADATA;
    for package in metadata.members() {
        let below = metadata.everything_below(&package, Depth::WithTests);
        let has_libav = LIBAV.iter().any(|name| below.contains(*name));
        assert_eq!(has_libav, package == "exhibit-transcode", "{package} and libav");
    }
}

#[test]
fn the_core_names_no_file_socket_clock_or_random_number() {
    let mut sources = Vec::new();
    rust_files(&root().join("chain-of-custody/src"), &mut sources);
    assert!(!sources.is_empty());
    for path in sources {
        let text = fs::read_to_string(&path).expect("a source file");
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in shipped.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let named = IMPURE_SOURCE.iter().find(|name| code.contains(*name));
            assert_eq!(named, None, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

#[test]
fn every_dependency_is_stated_once_in_the_workspace() {
    for package in METADATA.packages() {
        let manifest = fs::read_to_string(package).expect("a manifest");
        let mut in_dependencies = false;
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            } else if in_dependencies && line.contains('=') && !line.starts_with('#') {
                assert!(
                    line.contains("workspace = true"),
                    "{package}: `{line}` states a version of its own"
                );
            }
        }
    }
}

/// The lines `importer -> imported imported` of the fenced block named `imports`.
fn import_table(page: &str) -> Graph {
    let block = page.split("```imports\n").nth(1).expect("a block named imports");
    let block = block.split("```").next().expect("its end");
    let mut table = Graph::new();
    for line in block.lines() {
        let (importer, imported) = line.split_once("->").expect("a line with ->");
        let imported = imported.split_whitespace().map(str::to_owned).collect();
        let before = table.insert(importer.trim().to_owned(), imported);
        assert_eq!(before, None, "{importer} stands twice in the table");
    }
    table
}

#[derive(Clone, Copy, PartialEq)]
enum Depth {
    /// What ends up in the program: normal dependencies.
    Shipped,
    /// And what its tests and build scripts use.
    WithTests,
}

/// What `cargo metadata` says of the workspace, resolved for this platform.
struct Metadata(Value);

static METADATA: LazyLock<Metadata> = LazyLock::new(Metadata::load);

impl Metadata {
    fn load() -> Self {
        let platform = format!("{}-unknown-linux-gnu", env::consts::ARCH);
        let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["metadata", "--format-version=1", "--locked", "--offline"])
            .args(["--filter-platform", &platform])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Metadata(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    fn members(&self) -> BTreeSet<String> {
        let ids = self.0["workspace_members"].as_array().expect("members");
        ids.iter().map(|id| self.name_of(id)).collect()
    }

    /// The manifests of the members.
    fn packages(&self) -> Vec<&str> {
        let members = self.0["workspace_members"].as_array().expect("members");
        let packages = self.0["packages"].as_array().expect("packages").iter();
        packages
            .filter(|package| members.contains(&package["id"]))
            .filter_map(|package| package["manifest_path"].as_str())
            .collect()
    }

    fn imports_between_members(&self) -> Graph {
        let members = self.members();
        let only_members = |name: &String| {
            let id = self.id_of(name);
            let imported = self.below(&id, Depth::Shipped).into_iter();
            imported.map(|id| self.name_of(&id)).filter(|name| members.contains(name)).collect()
        };
        members.iter().map(|name| (name.clone(), only_members(name))).collect()
    }

    /// The names of all packages that `package` needs, at any depth.
    fn everything_below(&self, package: &str, depth: Depth) -> BTreeSet<String> {
        let start = self.id_of(package);
        let mut waiting = self.below(&start, depth);
        let mut seen = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if seen.insert(id.as_str().expect("an id").to_owned()) {
                // The tests of our dependencies are not built with us.
                waiting.extend(self.below(&id, Depth::Shipped));
            }
        }
        seen.into_iter().map(|id| self.name_of(&Value::from(id))).collect()
    }

    fn below(&self, id: &Value, depth: Depth) -> Vec<Value> {
        let nodes = self.0["resolve"]["nodes"].as_array().expect("nodes");
        let node = nodes.iter().find(|node| &node["id"] == id).expect("a node for each id");
        let counts = |dependency: &&Value| {
            let kinds = dependency["dep_kinds"].as_array().expect("kinds");
            depth == Depth::WithTests || kinds.iter().any(|kind| kind["kind"].is_null())
        };
        let dependencies = node["deps"].as_array().expect("deps").iter();
        dependencies.filter(counts).map(|dependency| dependency["pkg"].clone()).collect()
    }

    fn name_of(&self, id: &Value) -> String {
        let package = self.find("id", id);
        package["name"].as_str().expect("a name").to_owned()
    }

    fn id_of(&self, name: &str) -> Value {
        self.find("name", &Value::from(name))["id"].clone()
    }

    fn find(&self, key: &str, value: &Value) -> &Value {
        let packages = self.0["packages"].as_array().expect("packages");
        packages
            .iter()
            .find(|package| &package[key] == value)
            .unwrap_or_else(|| panic!("no package with {key} {value}"))
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a file of the repository")
}
