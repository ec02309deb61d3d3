//! Points of one series packed into bytes: two columns, compressed as numbers (<https://docs.rs/pco>).
//!
//! Layout: the length of the first column in four bytes, little-endian; times in milliseconds since 1970; values.

use pco::standalone::{simple_compress, simple_decompress};
use pco::{ChunkConfig, errors::PcoError};

use super::series::Point;

/// A chunk cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// It is shorter than it says.
    #[error("a chunk of the history is cut off")]
    CutOff,
    /// Its columns are of different lengths.
    #[error("a chunk of the history has {times} times and {values} values")]
    Uneven {
        /// Times.
        times: usize,
        /// Values.
        values: usize,
    },
    /// It is damaged.
    #[error("a chunk of the history cannot be decompressed")]
    Damaged(#[from] PcoError),
}

/// Packs points.
///
/// # Errors
/// When they cannot be compressed.
pub fn pack(points: &[Point]) -> Result<Vec<u8>, ChunkError> {
    let config = ChunkConfig::default();
    let times: Vec<i64> = points.iter().map(|point| point.at_ms).collect();
    let values: Vec<f64> = points.iter().map(|point| point.value).collect();
    let times = simple_compress(&times, &config)?;
    let length = u32::try_from(times.len()).map_err(|_| ChunkError::CutOff)?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(times);
    bytes.extend(simple_compress(&values, &config)?);
    Ok(bytes)
}

/// The points of a chunk.
///
/// # Errors
/// When it is damaged.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Point>, ChunkError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(ChunkError::CutOff)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| ChunkError::CutOff)?;
    let (times, values) = rest.split_at_checked(length).ok_or(ChunkError::CutOff)?;
    let (times, values): (Vec<i64>, Vec<f64>) = (simple_decompress(times)?, simple_decompress(values)?);
    if times.len() != values.len() {
        return Err(ChunkError::Uneven { times: times.len(), values: values.len() });
    }
    Ok(times.into_iter().zip(values).map(|(at_ms, value)| Point { at_ms, value }).collect())
}
