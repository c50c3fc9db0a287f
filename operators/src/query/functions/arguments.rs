//! A function that queries may call, and the arguments that it is called with.

use std::sync::Arc;

use connectors::ColumnKind;
use datafusion_physical_expr::PhysicalExpr;

use super::{
    kinds::TEXT,
    typed::{Kind, Typed},
};

/// A function that queries may call.
pub struct Function {
    /// Its names.
    pub names: &'static [&'static str],
    /// How it is called.
    pub form: &'static str,
    /// Compiles a call. An error is the reason why not.
    pub compile: fn(Arguments) -> Result<Typed, String>,
}

/// The arguments of a call that is being compiled.
pub struct Arguments(pub Vec<Typed>);

impl Arguments {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Refuses another number of them.
    pub fn count(&self, allowed: std::ops::RangeInclusive<usize>) -> Result<(), String> {
        if allowed.contains(&self.len()) {
            return Ok(());
        }
        let (least, most) = (*allowed.start(), *allowed.end());
        let takes = match most - least {
            _ if most == usize::MAX => format!("{least} or more arguments"),
            0 if least == 1 => "1 argument".to_string(),
            0 => format!("{least} arguments"),
            1 => format!("{least} or {most} arguments"),
            _ => format!("{least} to {most} arguments"),
        };
        Err(format!("it takes {takes}, got {}", self.len()))
    }

    fn get(&self, i: usize) -> Result<&Typed, String> {
        self.0.get(i).ok_or_else(|| format!("argument {} is missing, got {}", i + 1, self.len()))
    }

    /// Argument `i`, which must be text.
    pub fn text(&self, i: usize) -> Result<Arc<dyn PhysicalExpr>, String> {
        let argument = self.get(i)?;
        match argument.known() {
            None | Some(ColumnKind::Varchar(_) | ColumnKind::Char(_)) => Ok(argument.clone().to(&TEXT)?.expr),
            Some(other) => Err(format!("argument {} is {other} and should be text: cast it", i + 1)),
        }
    }

    /// Argument `i`, which must be a whole number.
    pub fn integer(&self, i: usize) -> Result<Arc<dyn PhysicalExpr>, String> {
        let argument = self.get(i)?;
        match &argument.kind {
            Kind::Null | Kind::Known(ColumnKind::SmallInt | ColumnKind::Integer | ColumnKind::BigInt) => {
                Ok(argument.clone().to(&ColumnKind::BigInt)?.expr)
            }
            other => Err(format!("argument {} is {other} and should be a whole number", i + 1)),
        }
    }

    /// Takes the last one away if it is TRUE or FALSE.
    pub fn last_word(&mut self) -> Option<bool> {
        let last = self.0.last()?;
        let word = last.expr.to_string();
        if last.kind != Kind::Known(ColumnKind::Boolean) || (word != "true" && word != "false") {
            return None;
        }
        self.0.pop();
        Some(word == "true")
    }

    /// Argument `i`, which must be a text in quotes.
    pub fn quoted(&self, i: usize) -> Result<&str, String> {
        match &self.get(i)?.kind {
            Kind::Quoted(text) => Ok(text),
            other => Err(format!("argument {} is {other} and should be a text in quotes", i + 1)),
        }
    }
}
