"""Where runs, journals and blobs are kept: implementations of `ports.Store` and `ports.BlobStore`.

`memory` and `sqlite` are the two stores, each one object with both ports; `watch` wakes who waits for a commit, for
both. Below SQLite: `writer` (when and where a transaction runs), `transaction` (what it writes), `reader` (what is
read), `database` (opening the file), `sql` (the statements). Nothing here knows how runs execute.
"""
