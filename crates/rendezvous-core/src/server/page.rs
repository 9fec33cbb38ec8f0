//! What stands on a page, for each form in which requesters are served.

use core::iter::Peekable;

use rendezvous_record::Flavours;
use rendezvous_wire::PageWriter;

use super::{ENDED_PER_PAGE_MAX, Server, reads::Reads, registry::Served, request::Discover, unsigned};

/// Room for a `PeerInfo` that is made from a signed record.
const PEER_INFO_BYTES_GUESS: usize = 256;

/// How far a page has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    /// The position of its last registration.
    pub(super) position: u64,
    /// Whether a registration was left out because the page is full by bytes.
    pub(super) is_cut: bool,
}

impl Server {
    /// Fills a page with what is registered after a position.
    pub(super) fn fill(&self, page: &mut PageWriter, discover: &Discover<'_>, reads: Reads, after: u64) -> Filled {
        match reads {
            Reads::Envelopes(flavours) => self.fill_with_envelopes(page, discover, flavours, after),
            Reads::PeerInfo => self.fill_with_peer_infos(page, discover, after),
        }
    }

    fn fill_with_envelopes(
        &self,
        page: &mut PageWriter,
        discover: &Discover<'_>,
        reads: Flavours,
        after: u64,
    ) -> Filled {
        let mut filled = Filled { position: after, is_cut: false };
        let listed = self.registry.iter_after(self.now, discover.namespace, reads, after);
        for served in listed.take(discover.limit.count() + ENDED_PER_PAGE_MAX) {
            if page.count() == discover.limit.count() {
                break;
            }
            let Some(served) = served else { continue };
            if !page.push(served.namespace.as_str().as_bytes(), served.record, served.ttl_secs) {
                filled.is_cut = true;
                break;
            }
            filled.position = served.position;
        }
        filled
    }

    /// A registration is in one of the two registries alone, so nobody is listed twice.
    fn fill_with_peer_infos(&self, page: &mut PageWriter, discover: &Discover<'_>, after: u64) -> Filled {
        let mut filled = Filled { position: after, is_cut: false };
        let signed = self.registry.iter_after(self.now, discover.namespace, Flavours::BOTH, after);
        let unsigned = self.unsigned.iter_after(self.now, discover.namespace, Flavours::BOTH, after);
        let listed = Merged { signed: signed.peekable(), unsigned: unsigned.peekable() };
        let mut buffer = Vec::with_capacity(PEER_INFO_BYTES_GUESS);
        for listed in listed.take(discover.limit.count() + ENDED_PER_PAGE_MAX) {
            if page.count() == discover.limit.count() {
                break;
            }
            let Some((served, is_signed)) = listed else { continue };
            let info = match is_signed {
                true if unsigned::derive(served.record, &mut buffer) => &buffer,
                true => continue,
                false => served.record,
            };
            if !page.push(served.namespace.as_str().as_bytes(), info, served.ttl_secs) {
                filled.is_cut = true;
                break;
            }
            filled.position = served.position;
        }
        filled
    }
}

/// Two listings by position, and whether each entry is signed; `None` for one that has ended.
struct Merged<'a, S, U>
where
    S: Iterator<Item = Option<Served<'a>>>,
    U: Iterator<Item = Option<Served<'a>>>,
{
    signed: Peekable<S>,
    unsigned: Peekable<U>,
}

impl<'a, S, U> Iterator for Merged<'a, S, U>
where
    S: Iterator<Item = Option<Served<'a>>>,
    U: Iterator<Item = Option<Served<'a>>>,
{
    type Item = Option<(Served<'a>, bool)>;

    fn next(&mut self) -> Option<Self::Item> {
        let is_signed = match (self.signed.peek(), self.unsigned.peek()) {
            (Some(Some(signed)), Some(Some(unsigned))) => signed.position < unsigned.position,
            // What has ended is out of the way at once: it has no place in the order any more.
            (_, Some(None)) | (None, _) => false,
            (Some(_), _) => true,
        };
        let next = if is_signed { self.signed.next() } else { self.unsigned.next() }?;
        Some(next.map(|served| (served, is_signed)))
    }
}
