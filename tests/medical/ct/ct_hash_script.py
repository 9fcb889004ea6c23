"""Hash a folder of series, slowly enough to be killed: python ct_hash_script.py ROOT CACHE SECONDS."""

import sys
import time

from medical.ct import store
from medical.ct.data.layouts import read_source
from medical.ct.data.series import slice_table

if __name__ == "__main__":
    root, cache, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    plain = store.dhash

    def slow(image, size):
        time.sleep(seconds)
        return plain(image, size)

    store.dhash = slow
    table = slice_table(read_source("dicom", root).series)
    store.hash_slices(root, table, window="chest", cache=cache)
