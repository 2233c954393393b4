"""Names of files that people take for pictures: those that are read, and those that are not, with the way out."""

import os

from lookalike.utils.extras import install_hint

EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .webp .tif .tiff .bmp .dib .ppm .pgm .pbm .pnm .jp2 .j2k .jpx .avif "
    ".heic .heif .hif .qoi .pcx .jxl "
    # Cameras' raw files.
    ".3fr .arw .cr2 .cr3 .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl .sr2 "
    ".srf .srw .x3f".split()
)
NEEDS_RAW = f"a camera's raw file needs `{install_hint('raw')}`"
NEEDS_JXL = f"JPEG XL needs `{install_hint('jxl')}`"
NEEDS_HEIC = f"HEIC needs `{install_hint('heic')}`"
_OTHERS = {
    "a video is not read; save a frame of it as JPEG": ".mp4 .m4v .mov .avi .mkv .webm .wmv .flv .mpg .mpeg .3gp .mts "
    ".m2ts .ogv .insv .lrv",
    "a PDF is not read; save its pages as PNG": ".pdf",
    "PostScript is not read; save it as PNG": ".eps .ps .ai",
    "a vector drawing is not read; save it as PNG": ".svg .svgz .emf .wmf",
    "a project of an image editor is not read; export it as PNG": ".psd .psb .xcf .kra .clip .afphoto .procreate",
    "high dynamic range is not read; save it as TIFF or PNG": ".exr .hdr",
    "a medical image is not read; save it as PNG": ".dcm .dicom",
    "an astronomical image is not read; save it as TIFF": ".fits .fit",
    "an icon is not read; save it as PNG": ".ico .icns .cur",
    "this image format is not read; save it as PNG": ".tga .dds .jxr .wdp .bpg .flif .xbm .xpm .sgi .djvu .pict",
}
UNREAD = {extension: reason for reason, extensions in _OTHERS.items() for extension in extensions.split()}
"""Extensions of what is not read, with the reason that is listed for such a file."""


def is_image(name: str) -> bool:
    """Whether a file of this name should be an image that can be read."""
    # A Path of every file would take longer than its entry in the catalog.
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122


def unread(name: str) -> str | None:
    """Why a file of this name is not read, where a person would take it for a picture."""
    return UNREAD.get(os.path.splitext(name)[1].lower())  # noqa: PTH122
