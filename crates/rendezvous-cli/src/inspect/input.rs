//! What is to be inspected, from the forms in which people have bytes at hand.

use std::io::{self, IsTerminal, Read};

use data_encoding::{BASE64_NOPAD, HEXLOWER_PERMISSIVE};

use crate::output;

/// Most bytes that are read from standard input: the longest answer that a client reads, twice as long in hexadecimal,
/// and room for white space.
const INPUT_BYTES_MAX: u64 = 16 << 20;

/// Why there is nothing to inspect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("there is nothing to inspect: give hexadecimal, base64, or `-` to read standard input")]
    Empty,
    #[error("the input has {digits} hexadecimal digits, which is not a whole number of bytes: give all of it")]
    HalfByte { digits: usize },
    #[error("the input is neither hexadecimal nor base64: {character:?} is in neither; give binary by standard input")]
    NotText { character: char },
    #[error("the input is not base64 (it breaks at character {at}), and no hexadecimal: give all of it")]
    NotBase64 { at: usize },
    #[error("the input has more than {} MiB: cut it to the frames of interest", INPUT_BYTES_MAX >> 20)]
    TooLong,
    #[error("cannot read standard input: {0}")]
    Unreadable(io::Error),
}

/// The bytes that an argument stands for; `-`, or none, is standard input.
pub(super) fn read(argument: Option<&str>) -> Result<Vec<u8>, InputError> {
    match argument {
        None | Some("-") => from_stdin(),
        Some(text) => from_text(text),
    }
}

fn from_stdin() -> Result<Vec<u8>, InputError> {
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        output::note("reading standard input: paste hexadecimal or base64, and end it with Ctrl-D");
    }
    let mut bytes = Vec::new();
    stdin.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(InputError::Unreadable)?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(InputError::TooLong);
    }
    // A frame holds lengths, tags and keys: it does not pass for text by chance.
    match std::str::from_utf8(&bytes) {
        Ok(text) if foreign(text).is_none() => from_text(text),
        _ => Ok(bytes),
    }
}

/// Hexadecimal where all of it can be that, and base64 otherwise, of either alphabet, padded or not.
fn from_text(text: &str) -> Result<Vec<u8>, InputError> {
    if let Some(character) = foreign(text) {
        return Err(InputError::NotText { character });
    }
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    if digits.is_empty() {
        return Err(InputError::Empty);
    }
    if digits.chars().all(|c| c.is_ascii_hexdigit()) {
        let half = InputError::HalfByte { digits: digits.len() };
        return HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| half);
    }
    let standard = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    BASE64_NOPAD.decode(standard.as_bytes()).map_err(|error| InputError::NotBase64 { at: error.position + 1 })
}

/// The first character that neither form has.
fn foreign(text: &str) -> Option<char> {
    text.chars().find(|c| !(c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "+/-_=".contains(*c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_same_bytes_is_read() {
        let forms = ["fbff00 1e", "FB FF\n00 1E", "0xfbff001e", "+/8AHg==", "+/8AHg", "-_8AHg", "-_8A\nHg=="];
        for form in forms {
            assert_eq!(from_text(form).ok(), Some(vec![0xfb, 0xff, 0x00, 0x1e]), "{form}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let told = |text: &str| from_text(text).expect_err(text).to_string();
        assert!(told(" \n").contains("nothing to inspect"));
        assert!(told("abc").contains("3 hexadecimal digits"));
        assert!(told("ab.c").contains("'.'"));
        assert!(told("zzzzz").contains("character 5"));
    }
}
