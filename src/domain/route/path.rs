//! A place in a JSON body: names joined by dots, one index behind each at most (edgehub.md 2.3).

use std::fmt;

use winnow::Parser;
use winnow::ascii::digit1;
use winnow::combinator::{delimited, eof, opt, separated, terminated};
use winnow::token::take_while;

/// Serde's JSON ends at 128.
const MOST_STEPS: usize = 64;

/// `a.b[0].c`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BodyPath(Vec<Step>);

/// A name, and the index behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// Case matters.
    pub name: String,
    /// Of an array.
    pub index: Option<usize>,
}

/// Why it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Not like `a.b[0].c`.
    #[error(
        "a place in the body is written $body.NAME.NAME[0].NAME: names joined by dots, behind each \
         one index in brackets at most; there are no wildcards, slices and filters"
    )]
    Form,
    /// Deeper than any body that is read.
    #[error("a place in the body can be {MOST_STEPS} names deep at most")]
    Deep,
}

type Input<'a> = &'a str;

fn is_name(c: char) -> bool {
    !"()<>@,;:\\\"/[]?={}.".contains(c) && !c.is_whitespace()
}

fn step(input: &mut Input<'_>) -> winnow::Result<Step> {
    let name = take_while(1.., is_name).verify(|name: &str| name != "*");
    let index = delimited('[', digit1.parse_to::<usize>(), ']');
    (name, opt(index))
        .map(|(name, index): (&str, _)| Step { name: name.to_owned(), index })
        .parse_next(input)
}

impl BodyPath {
    /// What stands behind `$body.`
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let steps: Result<Vec<Step>, _> = terminated(separated(1.., step, '.'), eof).parse(text);
        let steps = steps.map_err(|_| BadPath::Form)?;
        if steps.len() > MOST_STEPS { Err(BadPath::Deep) } else { Ok(BodyPath(steps)) }
    }

    /// From the outside in.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for BodyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Step { name, index }) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { "." })?;
            if let Some(index) = index {
                write!(f, "[{index}]")?;
            }
        }
        Ok(())
    }
}
