//! Says what to do when the client libraries, which come from npm and not from this repository, are not there yet.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=static");
    if !Path::new("static/vendor/socket.io.esm.min.js").exists() {
        println!("cargo::error=the client libraries are missing: run `make vendor` (it needs npm), then build again");
    }
}
