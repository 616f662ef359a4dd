"""Writes tests/golden/tokenizer.json: texts and their ids by CLIPTokenizer.

Needs transformers==5.23.0 (tokenizers==0.23.3). Run from the repository root:
    python tests/golden/tokenizer.py [samples/mockup/tokenizer]
Only characters of Unicode 3.2 occur (and a few emoji), so that the Unicode version of utf8proc does not matter.
"""
import json
import random
import sys
import unicodedata

import transformers

assert transformers.__version__ == "5.23.0", transformers.__version__
folder = sys.argv[1] if len(sys.argv) > 1 else "samples/mockup/tokenizer"
tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
rng = random.Random(20)

S, E = "<|startoftext|>", "<|endoftext|>"
texts = [
    "", " ", "\t\n\r", "\u00a0\u3000\u2028", "a", ",", ",,,", "a,b, c ,d", "a photo of a cat",
    "A Photo Of A CAT", "masterpiece, best quality, (ultra-detailed:1.2), 8k wallpaper, [blurry]",
    "the quick brown fox jumps over the lazy dog", "   leading and trailing   ", "tabs\tand\nnew\r\nlines",
    "a\u00a0b\u1680c\u2000d\u2009e\u2028f\u2029g\u202fh\u205fi\u3000j\u0085k\x0bl\x0cm", "a\u200bb\u200cc\u200dd\ufeffe\u180ef",
    "\x00", "a\x00b", "\x01\x02\x1c\x1d\x1e\x1f\x7f\x80\x9f", "\ufffd \ufffe \uffff \ufdd0", "\ue000\uf8ff",
    # special tokens
    S, E, S + E, "a" + S + "b" + E + "c", f"a  {E}  b,", E * 5, "<|startoftext|", "<|endoftext", "|endoftext|>",
    "<|StartOfText|>", "x<|ENDOFTEXT|>y", "!!<|EndOfText|>!!", "<|ENDOFTEXT|><|StartOfText|>", "<<|endoftext|>>",
    "<|EndOfText|>'s", "<|END OF TEXT|>", "<|endoftext\u0130|>", "<|endofte\u0301xt|>", "e" + E + "\u0301",
    "<|END<|endoftext|>OFTEXT|>", "<|STARTOFTEXT|>1", "<|STARTOFTEXT|>\u0301", "<|\u212andoftext|>", "<|STARTOFTEXT|",
    # contractions
    "it's IT'S 'S", "I'll've", "!'s", "'s's", "don't can't won't", "they're we've i'm he'd she'll", "'", "''", "'''s",
    "'\u017f", "rock 'n' roll", "'re're're", "'r 'v 'l", "'tis 'twas", "\u2019s don\u2019t", "'s\u0301", "x 'll'LL'Ll",
    "'dd 'mm 'tt 'ss", "'1 '!", "s' 's' '", "'\u00e9", "a'b'c'd'e",
    # case
    "\u0130stanbul I\u0307 \u0131", "\u0391\u03a3 \u03a3\u03a3 \u03c2", "\u1e9e Stra\u00dfe", "\u01c4 \u01c5 \u01c6",
    "\u212a \u212b \u2126", "\u24b6\u24d0", "\u2160\u2167\u2170", "\u13a0\u13a1", "\u10a0\u10d0", "\u023a\u023e", "\u1f88\u1fbc",
    "\U00010400\U00010428", "\uff21\uff22\uff41", "\u1e00\u0325", "\u0130\u0130\u0130\u0130\u0130",
    # combining marks and normalisation
    "e\u0301 \u00e9 a\u0301\u0323 a\u0323\u0301", "\u0301abc", "\u0301", "a\u0300\u0315 b", "a\u0315\u0300", "q\u0307\u0323 q\u0323\u0307",
    "\uac00 \u1100\u1161 \u1112\u1161\u11ab \uac00\u11a8 \u1100 \u1161 \u11a8", "\u0958 \u0915\u093c", "\u2adc \u2add\u0338", "\u0344 \u0308\u0301",
    "\u0f43 \u0f42\u0fb7", "\ufb1d \ufb2a", "\uf900\ufa0e\ufa10\U0002f800", "\u0340\u0341\u0343", "\u1e0a\u0323", "s\u0323\u0307",
    "\u0b92\u0bd7 \u0b94", "\u0cc6\u0cc2\u0cd5", "\u0dd9\u0dcf\u0dca", "\u1026 \u1025\u102e", "A\u030a \u00c5", "\u212bngstr\u00f6m",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349a\u034f\u0320\u033c\u0353lgo",
    "a" + "\u0301\u0323" * 40, "e" + "\u0323\u0301\u0316" * 300, "\u304b\u3099 \u304c", "\u0627\u0653 \u0622", "\u0041\u0328\u0301",
    # emoji
    "\U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "\u2764\ufe0f\u2764", "1\ufe0f\u20e3",
    "\U0001f600\U0001f600\U0001f600", "cat\U0001f431dog\U0001f436", "\U0001f3f4\U000e0067\U000e0062\U000e007f", "\u270a\U0001f3ff!\u2708", "\u00a9\u00ae\u2122",
    # scripts
    "\u4e2d\u6587\u5b57", "\u732b\u306e\u5199\u771f", "\u30cd\u30b3\u3001\u72ac\u3002", "\uff8a\uff9f", "\uc0ac\uc9c4 \uace0\uc591\uc774", "\u0444\u043e\u0442\u043e\u0433\u0440\u0430\u0444\u0438\u044f \u041a\u041e\u0428\u041a\u0418", "\u0635\u0648\u0631\u0629 \u0642\u0637\u0629",
    "\u05ea\u05de\u05d5\u05e0\u05d4 \u05e9\u05dc", "\u0939\u093f\u0928\u094d\u0926\u0940 \u0924\u0938\u094d\u0935\u0940\u0930", "\u0e20\u0e32\u0e1e\u0e41\u0e21\u0e27", "Gr\u00fc\u00dfe aus K\u00f6ln", "\u03b3\u03ac\u03c4\u03b1", "\u10e1\u10e3\u10e0\u10d0\u10d7\u10d8", "\u1203\u120e", "\U00020000\U0002a6d6",
    "ca\u00f1\u00f3n fa\u00e7ade na\u00efve \u0153uvre \u017b\u00f3\u0142w", "ti\u1ebfng Vi\u1ec7t", "\U0001d400\U0001d41a\U0001d7ce", "\u02b0\u02b1\u02c6",
    # numbers
    "Ⅷ ½ 12 ²", "1234567890", "3.14 1,000 1e-5", "4k 8K 16:9", "\u0661\u0662\u0663 \u0967\u0968", "\u3007\u4e00\u4e8c", "\u2460\u2461\u2474", "\u00b9\u00b2\u00b3\u00bc\u00bd\u00be", "v1.5", "1\u03012", "a1b2c3",
    # punctuation
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "...", "?!?!", "-----", "___", "a_b-c.d", "(((a)))", "http://example.com/?a=b&c=d#e",
    "#hashtag @user", "\u00ab\u201equote\u201c\u00bb \u2026 \u2014 \u2013", "a,\u3001\uff0cb", "???= ??/ ??!", "\u00a1\u00bf\u00a7\u00b6", "\\n\\t", "</w> a</w>", ".,", ",.", ",'s", "',", ",\u0301",
    "end,", ", start", "a , , b", ",1,2,",
    # long
    "a" * 1000, "ab" * 2000, "supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis" * 20,
    "word " * 300, "one, " * 120, "!" * 3000, "?!" * 700, "\U0001f600" * 300, "1" * 200, "aaaaaaab" * 200, "\u0130" * 100, "thethethe" * 150,
    "x" * 74 + ", y", "\u00e9" * 500, "\x00" * 300,
]

assigned = [c for c in map(chr, range(0x110000)) if unicodedata.ucd_3_2_0.category(c) not in ("Cn", "Cs", "Co")]
cjk = [c for c in assigned if "CJK" in unicodedata.ucd_3_2_0.name(c, "") or "HANGUL SYLLABLE" in unicodedata.ucd_3_2_0.name(c, "")]
rest = sorted(set(assigned) - set(cjk))
marks = [c for c in rest if unicodedata.ucd_3_2_0.combining(c)]
# Every character that is not CJK, between a letter and a digit and after a symbol, in blocks.
for at in range(0, len(rest), 128):
    texts.append("".join("a%s!%s" % (c, c) for c in rest[at:at + 128]))
plain = [c for c in rest if c < "\u2000"]
nasty = ["'", "'s", "'ll", ",", " ", "!", "\u0130", "\u0301", "1", "a", "S", S, E, "<|EndOfText|>", "\u00e9", "\u4e2d", "\x00", "<|", "|>"]
for i in range(60):
    texts.append("".join(rng.choice(nasty) for _ in range(rng.randrange(1, 30))))
    texts.append("".join(rng.choice(assigned) for _ in range(rng.randrange(1, 40))))
    texts.append("".join(rng.choice(plain) for _ in range(rng.randrange(1, 60))))
    texts.append("".join(rng.choice(plain if rng.random() < 0.4 else marks) for _ in range(rng.randrange(1, 40))))
    texts.append("".join(chr(rng.randrange(32, 127)) for _ in range(rng.randrange(1, 120))))
vocabulary = [t.replace("</w>", "") for t in tokenizer.get_vocab()]
ascii_words = sorted(t for t in vocabulary if t.isascii())
for i in range(60):
    texts.append(rng.choice(["", " ", ", "]).join(rng.choice(ascii_words) for _ in range(rng.randrange(1, 60))))

cases = [{"utf8": t.encode().hex(), "ids": tokenizer(t, add_special_tokens=False, verbose=False)["input_ids"]} for t in texts]
with open("tests/golden/tokenizer.json", "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
print(len(cases), "texts")
