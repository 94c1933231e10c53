//! Expressions: CEL, checked when they are read and bounded in what they can cost.
//!
//! An expression has a length limit; it may go through a list of the event's, but not through another one within
//! that; no function in it does more than read its arguments once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr};
use cel::common::types::CelBool;
use cel::{Context, Env, IdedExpr, Program, Value};
use schemas::Kind;

use super::fact::{Fact, WHOLE, check_field};

/// Bytes of an expression.
const BYTES_MAX: usize = 1024;
/// Bytes kept of the reason why an expression could not be evaluated: it may quote the event.
const REASON_BYTES_MAX: usize = 300;
/// Functions by name, besides operators.
const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "type",
    "dyn",
];

/// A checked expression that is true or false of an event.
#[derive(Debug)]
pub(super) struct Expression {
    program: Program,
}

/// What expressions can use: the standard functions.
#[derive(Clone)]
pub(super) struct Language(Arc<Env>);

impl Language {
    pub(super) fn new() -> Self {
        Language(Arc::new(Env::stdlib()))
    }
}

/// A mistake at a byte of the expression.
pub(super) type Mistake = (usize, String);

impl Expression {
    /// Reads an expression for events of these kinds.
    ///
    /// # Errors
    /// Every mistake in it.
    pub(super) fn parse(text: &str, kinds: &[Kind], language: &Language) -> Result<Self, Vec<Mistake>> {
        if text.len() > BYTES_MAX {
            let problem = format!(
                "an expression of {} bytes; at most {BYTES_MAX} are allowed",
                text.len()
            );
            return Err(vec![(0, problem)]);
        }
        let compiled = catch_unwind(AssertUnwindSafe(|| language.0.compile(text)));
        let Ok(compiled) = compiled else {
            return Err(vec![(0, "cannot be read; simplify it".to_owned())]);
        };
        let program = compiled.map_err(|errors| {
            // What follows the first is mostly a consequence of it.
            let first = errors.errors.first();
            first.map_or_else(
                || vec![(0, unreadable(""))],
                |error| vec![(byte_at(text, error.pos), unreadable(&error.msg))],
            )
        })?;
        let mut checking = Checking {
            program: &program,
            kinds,
            text,
            bound: Vec::new(),
            nesting: 0,
            mistakes: Vec::new(),
        };
        checking.check(program.expression());
        let mistakes = checking.mistakes;
        if mistakes.is_empty() {
            Ok(Expression { program })
        } else {
            Err(mistakes)
        }
    }

    /// Whether it holds for an event.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub(super) fn holds(&self, fact: &Fact<'_>, language: &Language) -> Result<bool, String> {
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_env(language.0.clone());
            context.set_variable_resolver(fact);
            let value = Value::resolve_val(self.program.expression(), &context);
            let value =
                value.map_err(|error| format!("{error}; test with has({WHOLE}.field) what may be absent"));
            value.and_then(|value| match value.downcast_ref::<CelBool>() {
                Some(truth) => Ok(*truth.inner()),
                None => Err("it is neither true nor false; compare it with something".to_owned()),
            })
        }));
        let evaluated = evaluated.unwrap_or_else(|_| Err("it panicked; simplify it".to_owned()));
        evaluated.map_err(|mut reason| {
            super::template::shorten(&mut reason, REASON_BYTES_MAX);
            reason.replace(char::is_control, " ")
        })
    }
}

/// The parser's words, without what only its authors understand.
fn unreadable(message: &str) -> String {
    if message.contains("Recursion limit") {
        return "is nested too deep; simplify it".to_owned();
    }
    let message = message.trim_start_matches("Syntax error: ");
    let first = message.lines().next().unwrap_or_default();
    format!("is no CEL expression: {first}")
}

/// The byte of a line and column, both from 1.
fn byte_at(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let column = usize::try_from(column - 1).unwrap_or(0);
    let rest = text.get(start..).unwrap_or_default();
    start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
}

struct Checking<'e> {
    program: &'e Program,
    kinds: &'e [Kind],
    text: &'e str,
    /// Names that a macro such as `all` gave to what it goes through.
    bound: Vec<&'e str>,
    nesting: usize,
    mistakes: Vec<Mistake>,
}

impl<'e> Checking<'e> {
    fn note(&mut self, at: &IdedExpr, problem: String) {
        let place = self.program.source_info().offset_for(at.id);
        // Offsets are characters.
        let characters = place.map_or(0, |(start, _)| start as usize);
        let byte = self
            .text
            .char_indices()
            .nth(characters)
            .map_or(0, |(byte, _)| byte);
        let mistake = (byte, problem);
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    fn field(&mut self, at: &IdedExpr, name: &str) {
        if let Err(problem) = check_field(name, self.kinds) {
            self.note(at, problem);
        }
    }

    fn check(&mut self, at: &'e IdedExpr) {
        match &at.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) if name == WHOLE || self.bound.contains(&name.as_str()) => {}
            // Names of types, for `type(x) == int`.
            Expr::Ident(name) if FUNCTIONS.contains(&name.as_str()) || name == "map" || name == "list" => {}
            Expr::Ident(name) => self.field(at, name),
            Expr::Select(select) => {
                if matches!(&select.operand.expr, Expr::Ident(name) if name == WHOLE) {
                    self.field(at, &select.field);
                }
                self.check(&select.operand);
            }
            Expr::Call(call) => {
                let operator = call.func_name.contains(|c: char| !c.is_alphanumeric());
                if !operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    let problem = format!(
                        "there is no function `{}`; use one of {}",
                        call.func_name,
                        FUNCTIONS.join(", ")
                    );
                    self.note(at, problem);
                }
                call.target.iter().for_each(|target| self.check(target));
                call.args.iter().for_each(|argument| self.check(argument));
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.check(element)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    self.check(&entry.key);
                    self.check(&entry.value);
                }
            }),
            Expr::Struct(_) => self.note(at, "makes an object; write a map: {'key': value}".to_owned()),
            Expr::Comprehension(through) => {
                self.check(&through.iter_range);
                self.nesting += 1;
                if self.nesting > 1 {
                    let problem = "goes through a list within a list; do it in two rules, or in the agent";
                    self.note(at, problem.to_owned());
                }
                let bound = self.bound.len();
                self.bound
                    .extend([through.iter_var.as_str(), through.accu_var.as_str()]);
                self.bound.extend(through.iter_var2.as_deref());
                for part in [
                    &through.accu_init,
                    &through.loop_cond,
                    &through.loop_step,
                    &through.result,
                ] {
                    self.check(part);
                }
                self.bound.truncate(bound);
                self.nesting -= 1;
            }
        }
    }
}
