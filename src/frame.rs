//! Websocket frames (RFC 6455), as a server reads and writes them. Pure: bytes in, bytes out.
//!
//! Clients of this server have no messages to send. The decoder counts the bytes of a message against the limit and drops
//! them. So it buffers one control frame (125 bytes) at most, whatever length the header of a frame announces. Libraries
//! buffer whole messages.

use bytes::{BufMut as _, Bytes, BytesMut};

/// The largest payload of a control frame, in bytes.
const MAX_CONTROL_BYTES: usize = 125;

/// The longest header of a frame from a client: 2 bytes, 8 of length, 4 of mask.
const MAX_HEADER_BYTES: usize = 14;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a client has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A ping. The answer is a pong with the same payload.
    Ping(Payload),
    Pong,
    /// A close frame. The answer is a close frame with the same payload.
    Close(Payload),
    /// A message with more bytes than the limit.
    TooBig,
    /// A breach of the protocol, in words.
    Violation(&'static str),
}

/// The payload of a control frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    bytes: [u8; MAX_CONTROL_BYTES],
    length: u8,
}

impl Payload {
    const EMPTY: Self = Self { bytes: [0; MAX_CONTROL_BYTES], length: 0 };

    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(usize::from(self.length)) {
            *slot = byte;
            self.length += 1;
        }
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_slice())
    }
}

/// Splits the bytes of a client into frames. The bytes may come in pieces of any size.
#[derive(Debug)]
pub struct Decoder {
    max_message: usize,
    state: DecoderState,
    /// Bytes of the fragmented message that is not finished; `None` if there is none.
    message: Option<usize>,
}

#[derive(Debug)]
enum DecoderState {
    Header {
        bytes: [u8; MAX_HEADER_BYTES],
        length: u8,
    },
    Data {
        left: usize,
        ends_message: bool,
    },
    Control(Box<ControlFrame>),
    /// After a violation the rest of the bytes has no meaning.
    Ended,
}

#[derive(Debug)]
struct ControlFrame {
    opcode: u8,
    mask: [u8; 4],
    left: usize,
    payload: Payload,
}

impl Decoder {
    pub fn new(max_message: usize) -> Self {
        Self { max_message, state: DecoderState::BEGIN, message: None }
    }

    /// Takes bytes from `input` until they are used up or something is to be answered or reported. After [`Heard::TooBig`] and
    /// after a violation in a header, it ignores all further bytes.
    pub fn hear(&mut self, input: &mut &[u8]) -> Option<Heard> {
        loop {
            match &mut self.state {
                DecoderState::Header { bytes, length } => {
                    let needed = usize::from(header_length(bytes, *length));
                    if usize::from(*length) < needed {
                        let (byte, rest) = input.split_first()?;
                        *input = rest;
                        if let Some(slot) = bytes.get_mut(usize::from(*length)) {
                            *slot = *byte;
                            *length += 1;
                        }
                        continue;
                    }
                    let header = *bytes;
                    match self.begin(&header) {
                        Ok(state) => self.state = state,
                        Err(heard) => {
                            self.state = DecoderState::Ended;
                            return Some(heard);
                        }
                    }
                }
                DecoderState::Ended => {
                    *input = &[];
                    return None;
                }
                DecoderState::Data { left, ends_message } => {
                    let skipped = (*left).min(input.len());
                    *input = input.get(skipped..).unwrap_or_default();
                    *left -= skipped;
                    if *left > 0 {
                        return None;
                    }
                    if *ends_message {
                        self.message = None;
                    }
                    self.state = DecoderState::BEGIN;
                }
                DecoderState::Control(control) => {
                    while control.left > 0 {
                        let (byte, rest) = input.split_first()?;
                        *input = rest;
                        let at = usize::from(control.payload.length) % control.mask.len();
                        control.payload.push(byte ^ control.mask[at]);
                        control.left -= 1;
                    }
                    let (opcode, payload) = (control.opcode, control.payload);
                    self.state = DecoderState::BEGIN;
                    return Some(match opcode {
                        PING => Heard::Ping(payload),
                        PONG => Heard::Pong,
                        _ => close(payload),
                    });
                }
            }
        }
    }

    /// Reads a complete header, and returns the state for the bytes behind it.
    fn begin(&mut self, header: &[u8; MAX_HEADER_BYTES]) -> Result<DecoderState, Heard> {
        let [first, second, rest @ ..] = header;
        if first & RESERVED != 0 {
            return Err(Heard::Violation("reserved bits set"));
        }
        if second & MASKED == 0 {
            return Err(Heard::Violation("unmasked frame"));
        }
        let (length, mask_at) = match second & !MASKED {
            126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
            127 => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&rest[..8]);
                (u64::from_be_bytes(bytes), 8)
            }
            short => (u64::from(short), 0),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (is_final, opcode) = (first & FINAL != 0, first & !FINAL);
        match (opcode, self.message) {
            (CLOSE | PING | PONG, _) => {
                if !is_final || length > MAX_CONTROL_BYTES {
                    return Err(Heard::Violation("control frame fragmented or too long"));
                }
                let mut mask = [0; 4];
                mask.copy_from_slice(&rest[mask_at..mask_at + 4]);
                Ok(DecoderState::Control(Box::new(ControlFrame {
                    opcode,
                    mask,
                    left: length,
                    payload: Payload::EMPTY,
                })))
            }
            (TEXT | BINARY, Some(_)) => Err(Heard::Violation("a message begins inside another message")),
            (CONTINUATION, None) => Err(Heard::Violation("continuation without a message")),
            (TEXT | BINARY | CONTINUATION, so_far) => {
                let message = so_far.unwrap_or_default().saturating_add(length);
                if message > self.max_message {
                    return Err(Heard::TooBig);
                }
                self.message = Some(message);
                Ok(DecoderState::Data { left: length, ends_message: is_final })
            }
            _ => Err(Heard::Violation("unknown opcode")),
        }
    }
}

impl DecoderState {
    const BEGIN: Self = Self::Header { bytes: [0; MAX_HEADER_BYTES], length: 0 };
}

/// The length of a header. `have` is how many of its bytes are known; 2 until the first two are.
fn header_length(bytes: &[u8; MAX_HEADER_BYTES], have: u8) -> u8 {
    let [_, second, ..] = bytes;
    if have < 2 {
        return 2;
    }
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    match second & !MASKED {
        126 => 4 + mask,
        127 => 10 + mask,
        _ => 2 + mask,
    }
}

/// Checks the payload of a close frame: it is empty, or a code that a peer may send and a text.
fn close(payload: Payload) -> Heard {
    match payload.as_slice() {
        [] => Heard::Close(payload),
        [high, low, text @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                Heard::Violation("bad close code")
            } else if std::str::from_utf8(text).is_err() {
                Heard::Violation("close reason is not UTF-8")
            } else {
                Heard::Close(payload)
            }
        }
        _ => Heard::Violation("half a close code"),
    }
}

/// The frame of a text message as a server sends it: one frame, not masked.
pub fn text_frame(text: &[u8]) -> Bytes {
    let mut frame = start_text_frame(text.len());
    frame.put_slice(text);
    frame.freeze()
}

/// The header of a text frame, with room for the `length` bytes of text that the caller adds.
pub fn start_text_frame(length: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(length + 10);
    frame.put_u8(FINAL | TEXT);
    // The second byte holds a length up to 125. 126 and 127 say that 2 or 8 bytes of length follow.
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => frame.put_u8(short),
        (_, Ok(medium)) => {
            frame.put_u8(126);
            frame.put_u16(medium);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    frame
}

pub const EMPTY_PING: [u8; 2] = [FINAL | PING, 0];

pub fn put_pong(out: &mut Vec<u8>, payload: &Payload) {
    put_control(out, PONG, payload);
}

/// Appends a close frame with the payload of the client's close frame.
pub fn put_close_echo(out: &mut Vec<u8>, payload: &Payload) {
    put_control(out, CLOSE, payload);
}

/// Appends a close frame. A reason that does not fit is cut between two characters.
pub fn put_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let code = code.to_be_bytes();
    let mut fits = reason.len().min(MAX_CONTROL_BYTES - code.len());
    while !reason.is_char_boundary(fits) {
        fits -= 1;
    }
    let mut payload = Payload::EMPTY;
    code.into_iter().chain(reason.bytes().take(fits)).for_each(|byte| payload.push(byte));
    put_control(out, CLOSE, &payload);
}

fn put_control(out: &mut Vec<u8>, opcode: u8, payload: &Payload) {
    out.push(FINAL | opcode);
    out.push(payload.length);
    out.extend_from_slice(payload.as_slice());
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            length @ 0..126 => out.push(MASKED | length as u8),
            length @ 126..65_536 => {
                out.push(MASKED | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(MASKED | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&MASK);
        out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    fn say(heard: Heard) -> String {
        match heard {
            Heard::Ping(payload) => format!("ping {}", String::from_utf8_lossy(payload.as_slice())),
            Heard::Pong => "pong".to_owned(),
            Heard::Close(payload) => format!("close {:?}", payload.as_slice()),
            Heard::TooBig => "too big".to_owned(),
            Heard::Violation(what) => what.to_owned(),
        }
    }

    /// Decodes the bytes in pieces of every size.
    fn check(frames: &[Vec<u8>], expected: &[&str]) {
        let bytes = frames.concat();
        for piece in 1..=bytes.len() {
            let mut decoder = Decoder::new(64);
            let mut heard = Vec::new();
            'input: for mut chunk in bytes.chunks(piece) {
                while let Some(next) = decoder.hear(&mut chunk) {
                    let ends = matches!(next, Heard::TooBig | Heard::Violation(_));
                    heard.push(say(next));
                    if ends {
                        break 'input;
                    }
                }
                assert!(chunk.is_empty());
            }
            assert_eq!(heard, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn control_frames_are_heard_and_data_is_not() {
        check(
            &[
                client_frame(FINAL | PING, b"abc"),
                client_frame(FINAL | TEXT, &[b'x'; 64]),
                client_frame(FINAL | PONG, b""),
                client_frame(FINAL | BINARY, b""),
                client_frame(FINAL | PING, &[b'y'; 125]),
                client_frame(FINAL | CLOSE, b"\x03\xe8bye"),
            ],
            &["ping abc", "pong", &format!("ping {}", "y".repeat(125)), "close [3, 232, 98, 121, 101]"],
        );
        check(&[client_frame(FINAL | CLOSE, b"")], &["close []"]);
    }

    #[test]
    fn a_message_is_counted_over_its_fragments() {
        check(
            &[
                client_frame(TEXT, &[0; 32]),
                client_frame(FINAL | PING, b""),
                client_frame(FINAL, &[0; 32]),
                client_frame(FINAL | TEXT, &[0; 64]),
            ],
            &["ping "],
        );
        check(&[client_frame(TEXT, &[0; 32]), client_frame(FINAL, &[0; 33])], &["too big"]);
        check(&[client_frame(FINAL | TEXT, &[0; 65])], &["too big"]);
        check(&[client_frame(FINAL | BINARY, &[0; 300])], &["too big"]);
    }

    #[test]
    fn a_huge_frame_is_refused_by_its_header() {
        let mut decoder = Decoder::new(64);
        let mut header: &[u8] =
            &[FINAL | TEXT, MASKED | 127, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0];
        assert_eq!(decoder.hear(&mut header), Some(Heard::TooBig));
        let more = client_frame(FINAL | PING, b"abc");
        assert_eq!(decoder.hear(&mut more.as_slice()), None, "further bytes are ignored");
    }

    #[test]
    fn what_no_client_may_send() {
        check(&[vec![FINAL | TEXT, 1, b'x']], &["unmasked frame"]);
        check(&[client_frame(FINAL | 0x40 | TEXT, b"")], &["reserved bits set"]);
        check(&[client_frame(FINAL | 3, b"")], &["unknown opcode"]);
        check(&[client_frame(FINAL, b"")], &["continuation without a message"]);
        check(
            &[client_frame(TEXT, b""), client_frame(TEXT, b"")],
            &["a message begins inside another message"],
        );
        check(&[client_frame(PING, b"")], &["control frame fragmented or too long"]);
        check(&[client_frame(FINAL | PING, &[0; 126])], &["control frame fragmented or too long"]);
        check(&[client_frame(FINAL | CLOSE, b"\x03")], &["half a close code"]);
        check(&[client_frame(FINAL | CLOSE, b"\x03\xed")], &["bad close code"]);
        check(&[client_frame(FINAL | CLOSE, b"\x03\xe8\xff")], &["close reason is not UTF-8"]);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        put_close(&mut out, 4001, &"ä".repeat(80));
        assert_eq!(out.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }

    #[test]
    fn frames_of_all_lengths_have_the_shortest_header() {
        fn header(length: usize) -> Vec<u8> {
            let frame = text_frame(&vec![b'x'; length]);
            frame[..frame.len() - length].to_vec()
        }
        assert_eq!(header(0), [0x81, 0]);
        assert_eq!(header(125), [0x81, 125]);
        assert_eq!(header(126), [0x81, 126, 0, 126]);
        assert_eq!(header(65_535), [0x81, 126, 0xff, 0xff]);
        assert_eq!(header(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
