//! Lower-case hexadecimal digits.

/// The digits of a byte.
pub(super) fn digits(byte: u8) -> [u8; 2] {
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// The value of a digit. [`NO_DIGIT`] for all other bytes.
pub(super) fn value(digit: u8) -> u8 {
    VALUES[usize::from(digit)]
}

pub(super) const NO_DIGIT: u8 = 0xFF;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};
