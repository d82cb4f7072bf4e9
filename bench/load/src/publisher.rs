//! One sender: numbered messages, a window, acknowledgements in order.

use crate::wire;

/// See the module documentation.
pub(crate) struct Publisher {
    template: Vec<u8>,
    id_at: usize,
    body_at: usize,
    window: u64,
    /// Messages so far.
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    /// Acknowledgements of another message than the oldest.
    pub(crate) disorder: u64,
    /// When each of the window was sent.
    sent_at: Vec<u64>,
}

impl Publisher {
    pub(crate) fn new(run: u32, number: u32, topic: &str, size: usize, window: u16) -> Self {
        let (mut template, id_at, body_at) = wire::publish_template(topic, size);
        template[body_at..body_at + 4].copy_from_slice(&run.to_le_bytes());
        template[body_at + 4..body_at + 8].copy_from_slice(&number.to_le_bytes());
        let sent_at = vec![0; usize::from(window)];
        let window = u64::from(window);
        Publisher { template, id_at, body_at, window, sent: 0, acked: 0, disorder: 0, sent_at }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.sent - self.acked < self.window
    }

    /// Writes the next message; `at` counts as the time it was sent.
    pub(crate) fn send(&mut self, at: u64, out: &mut Vec<u8>) {
        let (id, body) = (self.id_at, self.body_at);
        self.template[id..id + 2].copy_from_slice(&packet_id(self.sent));
        self.template[body + 8..body + 16].copy_from_slice(&self.sent.to_le_bytes());
        self.template[body + 16..body + 24].copy_from_slice(&at.to_le_bytes());
        out.extend_from_slice(&self.template);
        self.sent_at[(self.sent % self.window) as usize] = at;
        self.sent += 1;
    }

    /// A PUBACK; when its message was sent.
    pub(crate) fn on_ack(&mut self, id: [u8; 2]) -> Option<u64> {
        if self.acked == self.sent {
            self.disorder += 1; // of nothing
            return None;
        }
        if packet_id(self.acked) != id {
            self.disorder += 1;
        }
        let at = self.sent_at[(self.acked % self.window) as usize];
        self.acked += 1;
        Some(at)
    }
}

fn packet_id(number: u64) -> [u8; 2] {
    ((number % 65_535 + 1) as u16).to_be_bytes()
}
