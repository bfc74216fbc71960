//! The programs in the kernel, on real veths between network namespaces that each test makes for
//! itself. They need root and a kernel with TCX (6.6); elsewhere they say so and end.

mod faults;
mod frame;
mod host_ports;
mod lab;
mod local;
mod masquerade;
mod model;
mod pace;
mod wire;

/// Whether the tests can run here; says why not.
fn runs_here() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: programs are attached as root only");
    }
    root
}

/// Whether the stack can be told to translate; says if not.
fn has_nft() -> bool {
    let found = std::process::Command::new("nft").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no nft here");
    }
    found
}
