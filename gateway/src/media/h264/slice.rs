//! Slice headers as far as they tell where a picture begins (H.264 (08/2021) §7.3.3, §7.4.1.2.4).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{
    Bits, FrameMbsFlags, ParameterSets, ParseError, PicOrderCntType, SetKind, nal, parse_sps,
};

/// The fields that tell the slices of one picture from those of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceHead {
    pub(super) picture_set: u8,
    pub(super) frame_num: u32,
    pub(super) field: Option<Parity>,
    pub(super) idr_picture: Option<u32>,
    pub(super) disposable: bool,
    pub(super) order: Order,
    pub(super) intra: bool,
}

/// Which lines a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parity {
    Top,
    Bottom,
}

/// What a slice says of picture order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Type 0: `pic_order_cnt_lsb`, `delta_pic_order_cnt_bottom`.
    Lsb(u32, u32),
    /// Type 1: `delta_pic_order_cnt`. Signed numbers are compared as they are coded.
    Delta(u32, u32),
    /// Type 2.
    Implied,
}

/// How a slice relates to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Both belong to one picture.
    SamePicture,
    /// It begins the second field of the frame: another picture, in the same access unit of ours.
    SecondField,
    /// It begins another frame.
    NewFrame,
}

/// What of the parameter sets is needed to read slice headers. By identifier.
#[derive(Clone, Debug)]
pub(super) struct Syntaxes {
    sequences: Vec<(u8, Sequence)>,
    pictures: Vec<(u8, Picture)>,
}

#[derive(Clone, Copy, Debug)]
struct Sequence {
    separate_planes: bool,
    frame_num_bits: u32,
    frames_only: bool,
    order: OrderSyntax,
}

#[derive(Clone, Copy, Debug)]
enum OrderSyntax {
    Lsb { bits: u32 },
    Delta { always_zero: bool },
    Implied,
}

#[derive(Clone, Copy, Debug)]
struct Picture {
    sequence: u8,
    bottom_field_order: bool,
}

impl SliceHead {
    /// How this slice relates to `previous`, the slice before it.
    pub fn boundary(&self, previous: &Self) -> Boundary {
        let same = self.picture_set == previous.picture_set
            && self.frame_num == previous.frame_num
            && self.field == previous.field
            && self.idr_picture == previous.idr_picture
            && self.disposable == previous.disposable
            && self.order == previous.order;
        if same {
            Boundary::SamePicture
        } else if self.completes(previous) {
            Boundary::SecondField
        } else {
            Boundary::NewFrame
        }
    }

    /// Whether this is the second field of a frame of which `first` is the first: opposite parity, the same
    /// `frame_num`, and no IDR picture (§3.30, "complementary field pair"; the first may be one).
    fn completes(&self, first: &Self) -> bool {
        self.field.is_some()
            && first.field.is_some()
            && self.field != first.field
            && self.frame_num == first.frame_num
            && self.idr_picture.is_none()
            && (self.disposable == first.disposable || !first.disposable)
    }

    /// Whether the slice refers to no other picture (I or SI).
    pub const fn is_intra(&self) -> bool {
        self.intra
    }

    /// Whether the slice is of a field rather than a frame.
    pub const fn is_field(&self) -> bool {
        self.field.is_some()
    }
}

impl Syntaxes {
    pub(super) fn new(sets: &ParameterSets) -> Result<Self, ParseError> {
        let sequences =
            sets.of(SetKind::Sequence).map(|nal| Sequence::parse(nal)).collect::<Result<_, _>>()?;
        let pictures =
            sets.of(SetKind::Picture).map(|nal| Picture::parse(nal)).collect::<Result<_, _>>()?;
        Ok(Self { sequences, pictures })
    }

    /// §7.3.3, up to the fields that §7.4.1.2.4 compares.
    pub(super) fn parse(&self, nal: &[u8]) -> Result<SliceHead, ParseError> {
        /// More than all these fields can take, emulation prevention included.
        const MAX_HEAD: usize = 48;
        let header = *nal.first().ok_or(ParseError::Truncated)?;
        let kind = header & 0x1f;
        if !matches!(kind, 1 | 2 | 5) {
            return Err(ParseError::Unsupported("nal_unit_type"));
        }
        let rbsp = nal::rbsp(nal.get(1..nal.len().min(MAX_HEAD)).ok_or(ParseError::Truncated)?);
        let mut bits = Bits::new(&rbsp);
        let _first_macroblock = bits.ue()?;
        let slice_type = bits.ue_to(9, "slice_type")?;
        let id = bits.ue_byte(255, "pic_parameter_set_id")?;
        let (picture_set, picture) =
            *find(&self.pictures, id).ok_or(ParseError::Unsupported("pic_parameter_set_id"))?;
        let (_, sequence) = *find(&self.sequences, picture.sequence)
            .ok_or(ParseError::Unsupported("seq_parameter_set_id"))?;
        if sequence.separate_planes {
            bits.skip(2)?;
        }
        let frame_num = bits.read(sequence.frame_num_bits)?;
        let field = if !sequence.frames_only && bits.flag()? {
            Some(if bits.flag()? { Parity::Bottom } else { Parity::Top })
        } else {
            None
        };
        let idr_picture = if kind == 5 { Some(bits.ue()?) } else { None };
        let second = picture.bottom_field_order && field.is_none();
        let order = match sequence.order {
            OrderSyntax::Lsb { bits: width } => {
                Order::Lsb(bits.read(width)?, if second { bits.ue()? } else { 0 })
            }
            OrderSyntax::Delta { always_zero: false } => {
                Order::Delta(bits.ue()?, if second { bits.ue()? } else { 0 })
            }
            OrderSyntax::Delta { always_zero: true } | OrderSyntax::Implied => Order::Implied,
        };
        Ok(SliceHead {
            picture_set,
            frame_num,
            field,
            idr_picture,
            disposable: header & 0x60 == 0,
            order,
            intra: matches!(slice_type % 5, 2 | 4),
        })
    }
}

fn find<T>(table: &[(u8, T)], id: u8) -> Option<&(u8, T)> {
    table.iter().find(|(known, _)| *known == id)
}

impl Sequence {
    fn parse(nal: &[u8]) -> Result<(u8, Self), ParseError> {
        let sps = parse_sps(nal)?;
        let order = match sps.pic_order_cnt {
            PicOrderCntType::TypeZero { log2_max_pic_order_cnt_lsb_minus4 } => {
                OrderSyntax::Lsb { bits: u32::from(log2_max_pic_order_cnt_lsb_minus4) + 4 }
            }
            PicOrderCntType::TypeOne { delta_pic_order_always_zero_flag, .. } => {
                OrderSyntax::Delta { always_zero: delta_pic_order_always_zero_flag }
            }
            PicOrderCntType::TypeTwo => OrderSyntax::Implied,
        };
        let sequence = Self {
            separate_planes: sps.chroma_info.separate_colour_plane_flag,
            frame_num_bits: u32::from(sps.log2_max_frame_num()),
            frames_only: matches!(sps.frame_mbs_flags, FrameMbsFlags::Frames),
            order,
        };
        Ok((sps.id().id(), sequence))
    }
}

impl Picture {
    /// The head of a picture parameter set, §7.3.2.2.
    fn parse(nal: &[u8]) -> Result<(u8, Self), ParseError> {
        let rbsp = nal::rbsp(nal.get(1..nal.len().min(32)).ok_or(ParseError::Truncated)?);
        let mut bits = Bits::new(&rbsp);
        let id = bits.ue_byte(255, "pic_parameter_set_id")?;
        let sequence = bits.ue_byte(31, "seq_parameter_set_id")?;
        let _entropy_coding = bits.flag()?;
        let picture = Self { sequence, bottom_field_order: bits.flag()? };
        Ok((id, picture))
    }
}
