//! HTTP/2 frames (RFC 9113) that hold one whole gRPC message each, as nearly all of Hubble's do.

/// A frame's header, and that of the gRPC message in it.
const HEAD: usize = 9;
const MESSAGE_HEAD: usize = 5;
const DATA: u8 = 0;

/// Start and end of the message in each of the frames from `at` on, up to one that is anything else
/// or that isn't there whole; and where that one begins.
///
/// Such a frame is DATA on `stream`, without flags, of `limit` bytes at most.
pub fn messages(
    bytes: &[u8],
    mut at: usize,
    stream: u32,
    limit: usize,
) -> (Vec<(usize, usize)>, usize) {
    let mut found = Vec::new();
    while let Some((start, end)) = message(bytes, at, stream, limit) {
        found.push((start, end));
        at = end;
    }
    (found, at)
}

fn message(bytes: &[u8], at: usize, stream: u32, limit: usize) -> Option<(usize, usize)> {
    let head = bytes.get(at..)?.get(..HEAD + MESSAGE_HEAD)?;
    let long = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let on = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let length = u32::from_be_bytes([head[10], head[11], head[12], head[13]]) as usize;
    let whole = head[3] == DATA
        && head[4] == 0
        && on == stream
        && head[9] == 0
        && long <= limit
        && long == length.checked_add(MESSAGE_HEAD)?;
    let end = at + HEAD + long;
    (whole && end <= bytes.len()).then_some((at + HEAD + MESSAGE_HEAD, end))
}

#[cfg(test)]
mod tests {
    use super::messages;

    fn frame(kind: u8, flags: u8, stream: u32, message: &[u8]) -> Vec<u8> {
        let mut bytes = ((message.len() + 5) as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.push(0);
        bytes.extend((message.len() as u32).to_be_bytes());
        bytes.extend(message);
        bytes
    }

    #[test]
    fn frames_in_a_row_are_found() {
        let bytes = [frame(0, 0, 1, b"abc"), frame(0, 0, 1, b"")].concat();
        assert_eq!(
            messages(&bytes, 0, 1, 16_384),
            (vec![(14, 17), (31, 31)], 31)
        );
        assert_eq!(messages(&bytes, 17, 1, 16_384), (vec![(31, 31)], 31));
        assert_eq!(messages(&bytes, 99, 1, 16_384), (vec![], 99));
    }

    #[test]
    fn any_other_frame_ends_it() {
        let good = frame(0, 0, 1, b"abc");
        let mut packed = good.clone();
        packed[9] = 1;
        let mut cut = good.clone();
        cut.pop();
        let mut two = frame(0, 0, 1, b"abcd");
        two[13] = 3;
        for other in [
            frame(1, 0, 1, b"abc"),
            frame(0, 1, 1, b"abc"),
            frame(0, 8, 1, b"abc"),
            frame(0, 0, 3, b"abc"),
            frame(0, 0, 0x8000_0001, b"abc"),
            frame(0, 0, 1, &[0; 16_380]),
            packed,
            cut,
            two,
        ] {
            let bytes = [good.clone(), other].concat();
            assert_eq!(messages(&bytes, 0, 1, 16_384), (vec![(14, 17)], 17));
        }
    }
}
