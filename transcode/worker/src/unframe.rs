//! AAC as recorders stream it has a header before each packet (ADTS); in MP4 what they say stands once, in the head.

use std::ptr;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::{Packet, Stream, ffi, packet::Mut as _};

/// libav's filter that takes them off.
pub(crate) struct Unframer(*mut ffi::AVBSFContext);

impl Unframer {
    /// Nothing where there are no such headers.
    pub(crate) fn of(stream: &Stream<'_>) -> Result<Option<Self>, ffmpeg::Error> {
        // SAFETY: the context is made here, filled from a stream of an open input, and freed when dropped.
        unsafe {
            let parameters = (*stream.as_ptr()).codecpar;
            let is_aac = (*parameters).codec_id == ffi::AVCodecID::AV_CODEC_ID_AAC;
            if !is_aac || (*parameters).extradata_size > 0 {
                return Ok(None);
            }
            let filter = ffi::av_bsf_get_by_name(c"aac_adtstoasc".as_ptr());
            if filter.is_null() {
                return Err(ffmpeg::Error::FilterNotFound);
            }
            let mut made = Self(ptr::null_mut());
            check(ffi::av_bsf_alloc(filter, &mut made.0))?;
            check(ffi::avcodec_parameters_copy((*made.0).par_in, parameters))?;
            (*made.0).time_base_in = stream.time_base().into();
            check(ffi::av_bsf_init(made.0))?;
            Ok(Some(made))
        }
    }

    /// The packet without its header.
    pub(crate) fn take(&mut self, mut packet: Packet) -> Result<Packet, ffmpeg::Error> {
        let mut bare = Packet::empty();
        // SAFETY: the filter takes over what the first packet holds, and gives one for each.
        unsafe {
            check(ffi::av_bsf_send_packet(self.0, packet.as_mut_ptr()))?;
            check(ffi::av_bsf_receive_packet(self.0, bare.as_mut_ptr()))?;
        }
        Ok(bare)
    }
}

fn check(code: i32) -> Result<(), ffmpeg::Error> {
    if code < 0 { Err(code.into()) } else { Ok(()) }
}

impl Drop for Unframer {
    fn drop(&mut self) {
        // SAFETY: it is ours, or null, which is nothing to free.
        unsafe { ffi::av_bsf_free(&mut self.0) }
    }
}
