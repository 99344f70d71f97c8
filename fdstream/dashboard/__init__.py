"""A federation to look at: one fold of its topics, a page that follows it live, and the same page as a file.

`chronicle` (with `rounds`, `parties`, `refused` and `traffic`) folds; `document` puts what there is to see into JSON,
whole or as what has changed; `reader` reads a log into a chronicle; `feed` and `web` serve it; `page` has the files.
Nothing here writes a record or reads a weight.
"""
