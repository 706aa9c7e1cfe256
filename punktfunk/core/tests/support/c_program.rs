//! C programs, linked against the static library as any C program is.
#![allow(dead_code)] // each test binary uses a part

use std::path::{Path, PathBuf};
use std::process::Command;

pub fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo puts the static library of the crate under test beside the test programs.
fn static_library() -> PathBuf {
    let library = std::env::current_exe()
        .unwrap()
        .with_file_name("libpunktfunk_core.a");
    assert!(library.exists(), "{} is missing", library.display());
    library
}

/// As [`run_source`], of a program in tests/c.
pub fn run_c(name: &str, header: &str) -> String {
    run_source(&crate_dir().join(format!("tests/c/{name}.c")), header)
}

/// Compile a program against the header of a folder, link and run it; return what it printed. What a sanitizer wants of the linker
/// stands in `PUNKTFUNK_CC_ARGUMENTS`.
pub fn run_source(source: &Path, header: &str) -> String {
    let name = source.file_stem().unwrap().to_string_lossy();
    let as_built = format!("{name}-{}", header.replace('/', "-"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(as_built);
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(source)
        .arg("-I")
        .arg(crate_dir().join(header))
        .arg(static_library())
        .args(
            std::env::var("PUNKTFUNK_CC_ARGUMENTS")
                .unwrap_or_default()
                .split_whitespace(),
        )
        .args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"])
        .output()
        .expect("a C compiler named `cc` is part of every Rust toolchain's requirements");
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let run = Command::new(&program).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(
        run.status.success(),
        "{}\n{said}{}",
        run.status,
        String::from_utf8_lossy(&run.stderr)
    );
    said
}
