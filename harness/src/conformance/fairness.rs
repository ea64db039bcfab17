//! Clients that want more than their share.

use std::time::{Duration, Instant};

use super::finding::Finding;
use super::subject::request;
use super::{Case, Need};

/// Requests of the modest client.
const REQUESTS: usize = 50;

pub(super) const CASES: &[Case] = &[Case {
    name: "fairness/flood",
    requirement: "a client that floods the server does not keep a modest one from its replies",
    source: "CWE-400 (uncontrolled resource consumption)",
    needs: &[Need::Clients(2)],
    check: |subject| {
        let mut flooding = subject.connect()?;
        flooding.learn(&request(1))?;
        let mut modest = subject.connect()?;
        let reply = modest.learn(&request(2))?;
        let mut slowest = Duration::ZERO;
        let asked = flooding.while_it_floods(|| {
            (0..REQUESTS).try_for_each(|_| {
                let began = Instant::now();
                modest.send(&[&request(2)[..], b"\n"].concat())?;
                modest.expect(&reply)?;
                slowest = slowest.max(began.elapsed());
                Ok(())
            })
        })?;
        subject.observe(format!("its slowest reply of {REQUESTS} took {} µs", slowest.as_micros()));
        asked.map_err(|finding: Finding| {
            finding.hint(
                "does it serve one client until that has nothing more to ask? give each a turn",
            )
        })
    },
}];
