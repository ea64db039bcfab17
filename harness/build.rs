//! Linker settings of the programs that the tests launch.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The tests start this program about 30,000 times, as a supervisor or as a server. In a
    // position-independent program the loader first adds the base address to each of 70,000 pointers.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
        println!("cargo::rustc-link-arg-tests=-no-pie");
    }
}
