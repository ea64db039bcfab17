//! Weights of steps, for the estimate of the time left.

use crate::conformance::Case;
use crate::contract::Contract;
use crate::load::{Load, Plan, Workload};
use crate::results::Kind;
use crate::server::LaunchSpec;

/// Duration of the search for the highest rate, relative to a measurement at one rate: about 14
/// runs of half the duration, and one run of the whole duration.
const SATURATION: f64 = 8.0;

/// Time to establish an idle connection, in seconds: of the order of a connect and a request.
const CONNECT_S: f64 = 50e-6;

/// Returns the sum of the weights of cases for one server: the number of cases that apply.
pub(crate) fn weight_of_cases(spec: &LaunchSpec, cases: &[&'static Case]) -> f64 {
    let applies = |case: &&&'static Case| {
        let spec = spec.fitting(|contract| case.suits(contract));
        case.unmet_precondition(&spec.contract).is_none()
    };
    cases.iter().filter(applies).count() as f64
}

/// Returns the weight of a case with this kind of result.
pub(crate) fn weight_of_result(kind: Kind) -> f64 {
    if kind == Kind::NotApplicable { 0.0 } else { 1.0 }
}

/// Returns the planned duration of a measurement in seconds; 0 if the workload does not apply.
pub(crate) fn planned_s(workload: &Workload, contract: &Contract, plan: Plan) -> f64 {
    let Ok(connections) = workload.connections(contract, plan) else { return 0.0 };
    let run = (plan.warm_up + plan.duration).as_secs_f64();
    match workload.load {
        Load::Saturation(_) => SATURATION * run,
        Load::IdleConnections => plan.duration.as_secs_f64() + connections as f64 * CONNECT_S,
        _ => run,
    }
}
