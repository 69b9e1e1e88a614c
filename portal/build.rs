//! Says in plain words when the styles that the portal carries inside itself are not built yet.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=web/icons/exhibit.svg");
    for file in ["web/dist/exhibit.css", "web/dist/exhibit.css.gz"] {
        println!("cargo::rerun-if-changed={file}");
        if !Path::new(file).exists() {
            println!(
                "cargo::error=portal/{file} is not built yet: run `scripts/setup build` first (`make build` does)"
            );
        }
    }
}
