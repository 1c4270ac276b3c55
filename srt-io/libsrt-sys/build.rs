//! Finds libsrt by pkg-config and checks its version. `LIBSRT_STATIC=1` links it statically.

use std::{env, process::ExitCode};

/// The oldest release whose headers the checked-in bindings describe.
const AT_LEAST: &str = "1.5.0";

/// Debian's development package calls itself `srt`; upstream's own installation does too.
const PACKAGE: &str = "srt";

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=LIBSRT_STATIC");
    let is_static = env::var("LIBSRT_STATIC").is_ok_and(|value| value == "1");
    let found = pkg_config::Config::new()
        .atleast_version(AT_LEAST)
        .cargo_metadata(!is_static)
        .probe(PACKAGE);
    match found {
        Ok(library) if is_static => link_statically(&library),
        Ok(_) => {}
        Err(error) => {
            println!(
                "cargo::error=libsrt {AT_LEAST} or newer is needed and pkg-config did not find it. \
                 On Debian or Ubuntu: apt-get install libsrt-openssl-dev pkg-config. ({})",
                error.to_string().replace('\n', " ")
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// pkg-config's own static mode falls back to the shared library for what lies below `/usr`, so the
/// archive is named here, with what it needs: a crypto library and the C++ runtime.
fn link_statically(library: &pkg_config::Library) {
    let archive = library.link_paths.iter().map(|path| path.join("libsrt.a")).find(|a| a.exists());
    let default =
        default_folders().into_iter().map(|path| path.join("libsrt.a")).find(|a| a.exists());
    match archive.or(default) {
        Some(archive) => {
            let folder = archive.parent().expect("a file lies in a folder");
            println!("cargo::rustc-link-search=native={}", folder.display());
            println!("cargo::rustc-link-lib=static=srt");
            println!("cargo::rustc-link-lib=crypto");
            println!("cargo::rustc-link-lib=stdc++");
        }
        None => println!(
            "cargo::error=LIBSRT_STATIC=1 is set and there is no libsrt.a. On Debian or Ubuntu it is in \
             libsrt-openssl-dev"
        ),
    }
}

fn default_folders() -> Vec<std::path::PathBuf> {
    let folder = pkg_config::get_variable(PACKAGE, "libdir").unwrap_or_default();
    vec![folder.into()]
}
