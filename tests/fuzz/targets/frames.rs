//! Frames, as a server reads them.

use backscroll::protocol::{decode_client, encode_client};

/// S-5: a client's frame is understood or refused, and what is understood is written so that it is read again.
pub fn client_frame(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(frame) = decode_client(&text) {
        let written = encode_client(&frame);
        assert_eq!(decode_client(&written), Ok(frame), "{written}");
    }
}
