//! Asking before what cannot be taken back.

use std::io::{self, BufRead, IsTerminal, Write};

use super::client::{Exit, Failure};

/// `yes` was given, or the person at the terminal says so. Without a terminal nobody can say so.
pub(super) fn confirm(yes: bool, warning: &str, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Refused, format!("{warning}\nNot done: repeat it with --yes.")));
    }
    let mut screen = io::stderr().lock();
    let asked = write!(screen, "{warning}\n{question} [y/N] ").and_then(|()| screen.flush());
    asked.map_err(|error| Failure::io("the terminal", &error))?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::io("the terminal", &error))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Refused, "Not done.")),
    }
}
