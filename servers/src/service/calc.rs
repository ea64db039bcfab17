//! calc stub
/// stub
pub fn answer(line: &[u8], reply: &mut Vec<u8>) {
    reply.extend_from_slice(line);
}
