//! Nothing but a place for `cargo bench` to find its benchmarks in: see `benches/servers.rs`.
