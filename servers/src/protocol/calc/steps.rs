//! Evaluates a checked expression, one operator at a time.
//!
//! evalexpr parses the line and computes every operator, but this module walks the tree. evalexpr's
//! own walk is recursive: in an unoptimised build it needs 300 KiB of stack for a line within the
//! limits. It would also hide an infinite intermediate value.

use std::cmp::Ordering;

use evalexpr::{Context, EvalexprError, EvalexprResult, Node, Operator, Value};

use super::dialect::{
    DIVISION_BY_ZERO, Message, NOT_AN_EXPRESSION, NOT_FINITE, OVERFLOW, WRONG_TYPE,
};

/// Returns the number or truth value of `text`.
pub(super) fn evaluate(text: &str) -> Result<Value, Message> {
    let tree = evalexpr::build_operator_tree(text).map_err(|_| NOT_AN_EXPRESSION)?;
    let mut values: Vec<Node> = Vec::new();
    for (mut node, children) in flatten(tree).into_iter().rev() {
        *node.children_mut() = values.split_off(values.len() - children);
        let value = evaluate_node(&node)?;
        node.children_mut().clear();
        *node.operator_mut() = Operator::Const { value };
        values.push(node);
    }
    match values.last().and_then(constant_value) {
        Some(value @ (Value::Int(_) | Value::Float(_) | Value::Boolean(_))) => Ok(value.clone()),
        _ => Err(NOT_AN_EXPRESSION),
    }
}

/// Returns each node of `tree` without its children, with the number of children. In reverse order,
/// every node follows its children, which are ordered from left to right.
fn flatten(tree: Node) -> Vec<(Node, usize)> {
    let mut nodes = Vec::new();
    let mut pending = vec![tree];
    while let Some(mut node) = pending.pop() {
        let children = std::mem::take(node.children_mut());
        nodes.push((node, children.len()));
        pending.extend(children);
    }
    nodes
}

/// Returns the value of `node`, whose children are values.
fn evaluate_node(node: &Node) -> Result<Value, Message> {
    use EvalexprError as E;
    if divides_by_zero(node) {
        return Err(DIVISION_BY_ZERO);
    }
    match node.eval_with_context(&Calculator) {
        Ok(Value::Float(number)) if !number.is_finite() => Err(NOT_FINITE),
        Ok(value) => Ok(value),
        Err(
            E::AdditionError { .. }
            | E::SubtractionError { .. }
            | E::NegationError { .. }
            | E::MultiplicationError { .. }
            | E::DivisionError { .. }
            | E::ModulationError { .. },
        ) => Err(OVERFLOW),
        Err(
            E::ExpectedNumber { .. }
            | E::ExpectedNumberOrString { .. }
            | E::ExpectedBoolean { .. }
            | E::TypeError { .. }
            | E::WrongTypeCombination { .. },
        ) => Err(WRONG_TYPE),
        Err(_) => Err(NOT_AN_EXPRESSION),
    }
}

fn divides_by_zero(node: &Node) -> bool {
    let [dividend, divisor] = node.children() else {
        return false;
    };
    matches!(node.operator(), Operator::Div | Operator::Mod)
        && constant_value(dividend).is_some_and(Value::is_number)
        && matches!(constant_value(divisor), Some(Value::Int(0) | Value::Float(0.0)))
}

fn constant_value(node: &Node) -> Option<&Value> {
    match node.operator() {
        Operator::Const { value } => Some(value),
        _ => None,
    }
}

/// The evaluation context: no variables, evalexpr's built-in functions (the guard admits few of
/// them), and replacements of `min` and `max`. evalexpr's versions start from the extreme integer:
/// its minimum of 1e19 and 1e20 is 9223372036854775807.
struct Calculator;

impl Context for Calculator {
    fn get_value(&self, _name: &str) -> Option<&Value> {
        None
    }

    fn call_function(&self, name: &str, argument: &Value) -> EvalexprResult<Value> {
        match (name, argument) {
            ("min", Value::Tuple(values)) => first_extreme(values, Ordering::Less),
            ("max", Value::Tuple(values)) => first_extreme(values, Ordering::Greater),
            // evalexpr then tries its built-in functions.
            _ => Err(EvalexprError::FunctionIdentifierNotFound(name.to_owned())),
        }
    }

    fn are_builtin_functions_disabled(&self) -> bool {
        false
    }

    fn set_builtin_functions_disabled(&mut self, _disabled: bool) -> EvalexprResult<()> {
        Err(EvalexprError::BuiltinFunctionsCannotBeDisabled)
    }
}

/// Returns the minimum of `values` if `preferred` is `Less`, the maximum if it is `Greater`. Of
/// equal values, returns the first.
fn first_extreme(values: &[Value], preferred: Ordering) -> EvalexprResult<Value> {
    let mut best = values.first().unwrap_or(&Value::Empty);
    for value in values.iter().skip(1) {
        let order = match (value, best) {
            (Value::Int(value), Value::Int(best)) => Some(value.cmp(best)),
            _ => value.as_number()?.partial_cmp(&best.as_number()?),
        };
        if order == Some(preferred) {
            best = value;
        }
    }
    Ok(best.clone())
}
