"""Words and their translations in the same order: induction by meaning."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from ingest.evalset import eval_set
from ingest.evalsets.paired import Draft, Pair, PairedPrompts, couples, require, some
from ingest.evalsets.tokenizing import TextTokenizer
from ingest.evalsets.word_pairs import fitting, pairs_of
from ingest.streams import stream

LISTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "French": pairs_of(
        """house maison, water eau, night nuit, day jour, year an, time temps, man homme, woman femme, child enfant, king roi,
        world monde, life vie, death mort, war guerre, peace paix, city ville, street rue, tree arbre, sun soleil, moon lune,
        sea mer, sky ciel, earth terre, fire feu, bread pain, wine vin, milk lait, cheese fromage, dog chien, cat chat, horse
        cheval, bird oiseau, hand main, head corps, eye oeil, heart coeur, book livre, school école, door porte, with avec,
        without sans, for pour, under sous, on sur, but mais, very bien, more plus, good bon, new nouveau, small petit, great
        grand, white blanc, black noir, red rouge, green vert, blue bleu, one un, two deux, three trois, four quatre, five cinq,
        ten dix, who qui, where où, when quand, in dans, my mon, all tout, love amour, friend ami, brother frère, sister soeur,
        mother mère, father père, he il, she elle, we nous, you vous, is est, not pas, of de, and et, or ou, no non, against
        contre, after après, between entre, because car, always toujours, here ici, wall mur, game jeu, place lieu"""
    ),
    "German": pairs_of(
        """house Haus, water Wasser, night Nacht, day Tag, year Jahr, time Zeit, man Mann, woman Frau, child Kind, king König,
        world Welt, life Leben, death Tod, war Krieg, peace Frieden, city Stadt, street Straße, tree Baum, sun Sonne, moon Mond,
        sea Meer, sky Himmel, earth Erde, fire Feuer, bread Brot, wine Wein, milk Milch, dog Hund, cat Katze, horse Pferd, bird
        Vogel, head Kopf, eye Auge, heart Herz, book Buch, school Schule, door Tür, with mit, without ohne, for für,
        under unter, on auf, but aber, very sehr, more mehr, good gut, new neu, small klein, great groß, white weiß, black
        schwarz, red rot, green grün, blue blau, one eins, two zwei, three drei, four vier, five fünf, ten zehn, who wer, where
        wo, when wann, and und, or oder, not nicht, also auch, after nach, of von, people Volk, word Wort, part Teil, place Ort,
        he er, we wir, is ist, that dass, here hier, there da, first erste, always immer, yes ja, no nein, old alt, long lang"""
    ),
    "Spanish": pairs_of(
        """house casa, water agua, night noche, day día, year año, time tiempo, man hombre, woman mujer, child niño, king rey,
        world mundo, life vida, death muerte, war guerra, peace paz, city ciudad, street calle, tree árbol, sun sol, moon luna,
        sea mar, sky cielo, earth tierra, fire fuego, bread pan, wine vino, milk leche, dog perro, cat gato, horse caballo, bird
        pájaro, hand mano, head cabeza, eye ojo, heart corazón, book libro, school escuela, door puerta, with con, without sin,
        for para, under bajo, on sobre, but pero, very muy, more más, good bueno, new nuevo, small poco, great gran, white
        blanco, black negro, red rojo, green verde, blue azul, one uno, two dos, three tres, four cuatro, five cinco, ten diez,
        who quien, where donde, when cuando, or o, by por, between entre, as como, is es, this este, all todo, love amor, saint
        san, party partido, people gente, part parte, from desde, until hasta, of de, not no, what que, the la, and y, yes sí,
        his su, them los, much mucho, left izquierda, old viejo, place lugar"""
    ),
    "synonyms": pairs_of(
        """big large, small little, fast quick, begin start, end finish, shut close, sad unhappy, happy glad, smart clever, rich
        wealthy, hard difficult, easy simple, sick ill, angry mad, buy purchase, help aid, choose pick, speak talk, jump leap,
        rock stone, car auto, street road, house home, child kid, doctor physician, gift present, job task, error mistake, answer
        reply, idea thought, sea ocean, forest woods, city town, picture image, song tune, boat ship, cash money, film movie,
        fear terror, power strength, trip journey, border edge, center middle, speed pace, form shape, type kind, area region,
        enemy foe, law rule, sofa couch, woman lady, man guy, hero champion, often frequently, near close, almost nearly, whole
        entire, correct right, odd strange, brave bold, silent quiet, famous known, ancient old, wet damp, evil wicked"""
    ),
}
# {words} are the first list, {said} the second one so far
TEMPLATES = (
    "English: {words}. {language}: {said}",
    "The words {words} are in {language} {said}",
    "First in English: {words}; then in {language}, in the same order: {said}",
)
OF_SYNONYMS = (
    "Words: {words}. The same in other words: {said}",
    "The words {words} mean the same as {said}",
    "First list: {words}; words of the same meaning, in the same order: {said}",
)
_SAID = 3


@eval_set(
    "translation",
    citation="Olsson et al. 2022, In-context learning and induction heads (translation heads); word lists: pathscope",
)
class Translation(PairedPrompts):
    """Prompts such as `English: night war bread king day. French: nuit guerre pain`: correct roi, distractor jour.

    Words, then their translations (or synonyms) in the same order, of which the fourth is to be said; the distractor
    translates a later word. In the partner these two words change places in the first list, and each prompt is the other's
    counterfactual. Words that the tokenizer takes apart are left out, with their translations: vocabularies made from
    English text leave few (GPT-2's 21 to 27 of a hundred), but most synonyms. Words that mean the same are the set's classes
    of equivalent tokens, which `head.soft_prefix_matching` looks for. Roles: `source`, the word whose translation is asked
    for, `other`, the distractor's, and `last`, the word whose translation was said last.
    """

    language: Literal["French", "German", "Spanish", "synonyms"] = Field(
        "French", description="what English words are translated into; synonyms: other English words"
    )
    words: int = Field(6, ge=_SAID + 2, le=20, description="words in the first list")
    min_pairs: int = Field(15, ge=_SAID + 2, description="refuse where fewer pairs are two tokens")

    def pairs(self, tokenizer: TextTokenizer) -> Iterator[Pair]:
        """The same words, two of them in one order and in the other."""
        kept = dict(fitting(tokenizer, LISTS[self.language]))
        require(
            self.kind, tokenizer, f"pairs ({self.language})", kept=len(kept), of=len(LISTS[self.language]),
            least=max(self.min_pairs, self.words), why="with two whole words (one token each, with the space before)",
        )  # fmt: skip
        places = [f"w{i}" for i in range(1, self.words + 1)]
        said = [f"t{i}" for i in range(1, _SAID + 1)]
        listed = {"words": " ".join(f"{{{w}}}" for w in places), "said": " ".join(f"{{{t}}}" for t in said)}
        texts = OF_SYNONYMS if self.language == "synonyms" else TEMPLATES
        templates = [text.format(language=self.language, **listed) for text in texts]
        for k, (one, other) in enumerate(couples(self.seed, "eval.translation.asked", list(kept))):
            draw = stream(self.seed, "eval.translation", k)
            rest = some(draw, list(kept), self.words - 2, but=(one, other))
            at = draw.randint(_SAID + 1, self.words)
            words = dict(
                zip((place for i, place in enumerate(places) if i not in (_SAID, at)), rest, strict=True)
            )
            words |= {said[i]: kept[words[places[i]]] for i in range(_SAID)}
            asked, left, template = places[_SAID], places[at], templates[k % len(templates)]
            yield (
                _draft(template, words, (asked, one, kept[one]), (left, other, kept[other])),
                _draft(template, words, (asked, other, kept[other]), (left, one, kept[one])),
            )

    def of_tokenizer(self, tokenizer: TextTokenizer) -> Mapping[str, Any]:
        """Classes of tokens that mean the same."""
        kept = fitting(tokenizer, LISTS[self.language])
        return {
            "n_pairs": len(kept),
            "equivalents": [[tokenizer.single(f" {word}") for word in pair] for pair in kept],
        }


def _draft(
    template: str, words: dict[str, str], asked: tuple[str, str, str], left: tuple[str, str, str]
) -> Draft:
    """asked, left: the place of a word, the word and its translation."""
    return Draft(
        template,
        {**words, asked[0]: asked[1], left[0]: left[1]},
        f" {asked[2]}",
        f" {left[2]}",
        roles={"source": asked[0], "other": left[0], "last": f"w{_SAID}"},
        counterfactual={asked[0]: left[1], left[0]: asked[1]},
        facts={"word": asked[1]},
    )
