"""libtiff's messages on a broken TIFF, kept as the reason of a rejection instead of written to the terminal by C.

Pillow offers no way to it, but libtiff itself does (TIFFSetErrorHandler). Where that cannot be reached, as in a Pillow that hides
the libtiff inside it, libtiff goes on writing to stderr.
"""

from __future__ import annotations

import ctypes
import threading

from PIL import _imaging

KEPT, LONGEST = 3, 500  # messages for one image, bytes of a message
# void handler(const char *module, const char *format, va_list values); a va_list is passed as a pointer on x86-64 and ARM64.
HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_this_thread = threading.local()  # libtiff calls the handler in the thread that decodes


def said() -> str:
    """What libtiff has complained of in this thread since the last call, "" for nothing."""
    words, _this_thread.words = "; ".join(_words()), {}
    return words


def _words() -> dict[str, None]:
    if not hasattr(_this_thread, "words"):
        _this_thread.words = {}
    return _this_thread.words


@HANDLER
def _keep(_: bytes, format: bytes, values: int) -> None:
    words = _words()
    if len(words) < KEPT:
        text = ctypes.create_string_buffer(LONGEST)
        _libc.vsnprintf(text, ctypes.c_size_t(LONGEST), ctypes.c_char_p(format), ctypes.c_void_p(values))
        words[" ".join(text.value.decode("utf-8", "replace").split())] = None


def _listen() -> bool:
    """Has libtiff call `_keep` for errors and nobody for warnings, which are remarks on metadata; whether it could be told so."""
    try:
        library = ctypes.CDLL(_imaging.__file__)  # a symbol is looked up in what it is linked to, too
        set_error, set_warning = library.TIFFSetErrorHandler, library.TIFFSetWarningHandler
        _ = _libc.vsnprintf
    except (OSError, AttributeError, TypeError):
        return False
    for function in (set_error, set_warning):
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
    set_error(ctypes.cast(_keep, ctypes.c_void_p))
    set_warning(None)
    return True


_libc = ctypes.CDLL(None)
LISTENS = _listen()
