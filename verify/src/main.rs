//! `exhibit-verify`: checks a bundle, or a receipt and its file, without the system that made it and without a network.

use std::process::ExitCode;

fn main() -> ExitCode {
    exhibit_verify::main_with(std::env::args_os())
}
