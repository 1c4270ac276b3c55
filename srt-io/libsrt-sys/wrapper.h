/* What the bindings are generated from; see lib.rs. */
#include <srt/srt.h>
#include <srt/access_control.h>
