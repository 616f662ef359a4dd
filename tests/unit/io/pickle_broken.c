/* Hostile and broken pickles, written out byte by byte, and the sentence that each gets. */
#include "tests/unit/io/pickle_build.h"

#define ROW(status, pickle, message)                                                                         \
    { status, sizeof pickle - 1, pickle, message }
#define FORMAT(pickle, message) ROW(SD_E_FORMAT, pickle, message)
#define UNSUPPORTED(pickle, message) ROW(SD_E_UNSUPPORTED, pickle, message)
#define AT(byte, text) "m: a/data.pkl: byte " #byte ": " text

typedef struct broken_pickle {
    sd_status status;
    size_t size;
    const char *pickle, *message;
} broken_pickle;

static const broken_pickle names[] = {
    UNSUPPORTED(P "cos\nsystem\n" TEXT("\2", "id") "\x85R.",
                AT(2, "wants to call os.system; only tensors are read")),
    UNSUPPORTED("\x80\4\x8c\5posix\x8c\6system\x93.",
                AT(17, "wants to call posix.system; only tensors are read")),
    UNSUPPORTED(P "c__builtin__\neval\n.", AT(2, "wants to call __builtin__.eval; only tensors are read")),
    UNSUPPORTED(P "c_pickle\nloads\n.", AT(2, "wants to call _pickle.loads; only tensors are read")),
    UNSUPPORTED(DICT(W, "ctorch.storage\n_load_from_bytes\nC\5\x80\2}q.\x85R"),
                AT(9, "wants to call torch.storage._load_from_bytes; only tensors are read")),
    UNSUPPORTED(P "ctorch\nTensor\n)R.", AT(17, "wants to call torch.Tensor; only tensors are read")),
    UNSUPPORTED(P "cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n)R.",
                AT(65,
                   "wants to call pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint; only tensors "
                   "are read")),
    UNSUPPORTED(P "ccollections\nOrderedDict\n)\x81.",
                AT(28, "wants to create a collections.OrderedDict; only tensors are read")),
    FORMAT(P W ")R.", AT(9, "wants to call a string; only tensors are read")),
    FORMAT(P W ")\x81.", AT(9, "NEWOBJ: expected a name, found a string")),
    UNSUPPORTED(P "cos\tx\nsys\x1btem\n.", AT(2, "wants to call os?x.sys?tem; only tensors are read")),
    FORMAT(P "co\xff\nsystem\n.", AT(2, "GLOBAL: a name that is not well-formed UTF-8")),
    FORMAT(P "K\1" W "\x93.", AT(10, "STACK_GLOBAL: expected a string, found a whole number")),
    UNSUPPORTED(P "(ios\nsystem\n.", AT(3, "the opcode INST is not one that tensors need")),
    UNSUPPORTED(P "\x82\1.", AT(2, "the opcode EXT1 is not one that tensors need")),
    UNSUPPORTED("\x80\5\x96\1\0\0\0\0\0\0\0x.", AT(2, "the opcode BYTEARRAY8 is not one that tensors need")),
    UNSUPPORTED("\x80\4N)}\x92.", AT(5, "the opcode NEWOBJ_EX is not one that tensors need")),
    FORMAT(P "\xff.", AT(2, "0xFF is no opcode of a pickle")),
};

static const broken_pickle machine[] = {
    FORMAT("", AT(0, "expected the beginning of a pickle of protocol 2 to 5")),
    FORMAT("}q.", AT(0, "expected the beginning of a pickle of protocol 2 to 5")),
    UNSUPPORTED("\x80\1}.", AT(0, "expected a pickle of protocol 2 to 5, found 1")),
    UNSUPPORTED("\x80\6}.", AT(0, "expected a pickle of protocol 2 to 5, found 6")),
    FORMAT("\x80", AT(0, "PROTO needs 1 bytes, the pickle ends after 0")),
    FORMAT(P "}", AT(3, "STOP needs 1 bytes, the pickle ends after 0")),
    FORMAT(P "}.N", AT(4, "1 bytes follow the end of the pickle")),
    FORMAT(P ".", AT(2, "STOP takes 1 from the stack, which holds 0")),
    FORMAT(P "(.", AT(3, "STOP takes 1 from the stack, which holds 0")),
    FORMAT(P "X\xff\xff\xff\xff"
             "abc.",
           AT(2, "BINUNICODE needs 4294967295 bytes, the pickle ends after 4")),
    FORMAT(P "X\4\0", AT(2, "BINUNICODE needs 4 bytes, the pickle ends after 2")),
    FORMAT("\x80\4\x8d\0\0\0\0\0\0\0\x80"
           "abc.",
           AT(2, "BINUNICODE8 needs 9223372036854775808 bytes, the pickle ends after 4")),
    FORMAT("\x80\4\x8e\xff\xff\xff\xff\xff\xff\xff\xff.",
           AT(2, "BINBYTES8 needs 18446744073709551615 bytes, the pickle ends after 1")),
    FORMAT(P "\x8b\0\0\0\x80.", AT(2, "LONG4 needs 2147483648 bytes, the pickle ends after 1")),
    FORMAT("\x80\4\x95\x09\0\0\0\0\0\0\0N.", AT(2, "FRAME needs 9 bytes, the pickle ends after 2")),
    FORMAT(P "cos", AT(2, "GLOBAL needs 3 bytes, the pickle ends after 2")),
    FORMAT(P "N\x86.", AT(3, "TUPLE2 takes 2 from the stack, which holds 1")),
    FORMAT(P "N(N\x86.", AT(5, "TUPLE2 takes 2 from the stack, which holds 1")),
    FORMAT(P "Nt.", AT(3, "TUPLE needs a mark on the stack, which has none")),
    FORMAT(P "}(Nu.", AT(5, "SETITEMS: expected keys and values, found 1 values")),
    FORMAT(P "]NNs.", AT(5, "SETITEM: expected a dict, found a list")),
    FORMAT(P "}Na.", AT(4, "APPEND: expected a list, found a dict")),
    FORMAT(P "(e.", AT(3, "APPENDS: expected a list, found an empty stack")),
    FORMAT(P "N}b.", AT(4, "BUILD: expected an object, found None")),
    FORMAT(P "h\0.", AT(2, "BINGET: nothing was put in place 0 of the memo")),
    FORMAT(P "Nj\xff\xff\xff\xff.", AT(3, "LONG_BINGET: nothing was put in place 4294967295 of the memo")),
    FORMAT(P "q\0.", AT(2, "BINPUT takes 1 from the stack, which holds 0")),
    FORMAT(P "(q\0.", AT(3, "BINPUT takes 1 from the stack, which holds 0")),
    FORMAT(P "Nr\xff\xff\xff\xff.",
           AT(3, "LONG_BINPUT: place 4294967295 of the memo, for a pickle of 9 bytes")),
    FORMAT(P "]q\0h\0a.", "m: a list or dict that holds itself"),
    FORMAT(P "}q\0" W "h\0s.", "m: a list or dict that holds itself"),
    FORMAT(P "]q\0h\0\x85q\1"
             "0h\0h\1a.",
           "m: a list or dict that holds itself"),
};

static const broken_pickle storages[] = {
    FORMAT(P "NQ.", AT(3, "BINPERSID: expected a storage, found None")),
    FORMAT(P ")Q.", AT(3, "BINPERSID: expected a storage, found a tuple")),
    UNSUPPORTED(P "(" TEXT("\6", "module") "NNNNtQ.",
                AT(19, "BINPERSID: expected a storage, found another kind of object")),
    FORMAT(DICT(W, STORAGE_OF("ctorch\nfloat32\n", TEXT("\1", "0"), "K\4")),
           AT(54, "argument 2 of a storage: expected a type of storage, found a name")),
    FORMAT(DICT(W, STORAGE_OF(FLOATS, "K\0", "K\4")),
           AT(55, "argument 3 of a storage: expected a short key, found a whole number")),
    FORMAT(DICT(W, STORAGE(MINUS_ONE)),
           AT(60, "argument 5 of a storage: expected its number of elements, found a whole number")),
    FORMAT(DICT(W, STORAGE("G\x40\x10\0\0\0\0\0\0")),
           AT(66, "argument 5 of a storage: expected its number of elements, found a number")),
    UNSUPPORTED(DICT(W, STORAGE("K\4)")), AT(60, "storage '0' is a part of another one")),
    FORMAT(DICT(W, STORAGE_OF(FLOATS, TEXT("\1", "1"), "K\4")), AT(59, "storage '1' is not in the archive")),
    FORMAT(DICT(W, STORAGE_OF(FLOATS, TEXT("\x0a", "../../data"), "K\4")),
           AT(68, "storage '../../data' is not in the archive")),
    FORMAT(DICT(W, STORAGE("K\5")), AT(59, "storage '0' of 5 F32 has 16 bytes in the archive")),
    FORMAT(DICT(W, STORAGE(HUGE)),
           AT(67, "storage '0' of 9223372036854775807 F32 has 16 bytes in the archive")),
    FORMAT(DICT(W, STORAGE("\x8a\x08\0\0\0\0\0\0\0\x40")),
           AT(67, "storage '0' of 4611686018427387904 F32 has 16 bytes in the archive")),
};

static const broken_pickle tensors[] = {
    FORMAT(VIEW("K\0", "K\5\x85", "K\1\x85"),
           "m: tensor 'w': shape [5] needs 5 elements, its storage '0' holds 4"),
    FORMAT(VIEW("K\0", "M\xe8\3M\xe8\3\x86", "K\0K\0\x86"),
           "m: tensor 'w': shape [1000,1000] needs 1000000 elements, its storage '0' holds 4"),
    FORMAT(VIEW("K\0", "\x8a\5\0\0\0\0\1\x8a\5\0\0\0\0\1\x86", "K\1K\1\x86"),
           "m: tensor 'w': shape [4294967296,4294967296] of F32 has no size below 2^61 bytes"),
    FORMAT(VIEW("K\0", HUGE "\x85", "K\1\x85"),
           "m: tensor 'w': shape [9223372036854775807] of F32 has no size below 2^61 bytes"),
    FORMAT(VIEW("K\1", "K\4\x85", "K\1\x85"),
           "m: tensor 'w': its strides reach beyond the 4 elements of storage '0'"),
    FORMAT(VIEW(HUGE, ")", ")"), "m: tensor 'w': its strides reach beyond the 4 elements of storage '0'"),
    FORMAT(VIEW("K\0", "K\2K\2\x86", "K\3K\1\x86"),
           "m: tensor 'w': its strides reach beyond the 4 elements of storage '0'"),
    FORMAT(VIEW("K\2", "K\3\x85", HUGE "\x85"),
           "m: tensor 'w': its strides reach beyond the 4 elements of storage '0'"),
    FORMAT(VIEW("K\0", "K\4\x85", HUGE "\x85"),
           "m: tensor 'w': its strides reach beyond the 4 elements of storage '0'"),
    FORMAT(VIEW("K\0", MINUS_ONE "\x85", "K\1\x85"),
           AT(132, "argument 3 of _rebuild_tensor_v2: expected no negative number, found -1")),
    FORMAT(VIEW("K\0", "K\4\x85", MINUS_ONE "\x85"),
           AT(132, "argument 4 of _rebuild_tensor_v2: expected no negative number, found -1")),
    FORMAT(VIEW("K\0", "\x8a\x09\0\0\0\0\0\0\0\0\1\x85", "K\1\x85"),
           AT(140, "argument 3 of _rebuild_tensor_v2: expected whole numbers below 2^63, found a whole "
                   "number of more "
                   "than 64 bits")),
    FORMAT(VIEW(MINUS_ONE, ")", ")"),
           AT(128,
              "argument 2 of _rebuild_tensor_v2: expected an offset from 0 to 2^63-1, found a whole number")),
    FORMAT(VIEW("K\0", "]", "K\1\x85"),
           AT(129, "argument 3 of _rebuild_tensor_v2: expected a tuple of whole numbers, found a list")),
    UNSUPPORTED(VIEW("K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", ")"),
                AT(146, "argument 3 of _rebuild_tensor_v2: expected at most 8 dimensions, found 9")),
    FORMAT(VIEW("K\0", "K\4\x85", ")"),
           AT(129, "_rebuild_tensor_v2: a shape of 1 dimensions with 0 strides")),
    FORMAT(DICT(W, TENSOR("N", "K\0", ")", ")")),
           AT(77, "argument 1 of _rebuild_tensor_v2: expected a storage, found None")),
    FORMAT(DICT(W, "ctorch._utils\n_rebuild_tensor_v2\n)R"),
           AT(43, "_rebuild_tensor_v2: expected 6 to 7 arguments, found 0")),
    FORMAT(DICT(W, "ctorch._utils\n_rebuild_tensor\n)R"),
           AT(40, "_rebuild_tensor: expected 4 arguments, found 0")),
    FORMAT(DICT(W, "ctorch._utils\n_rebuild_tensor_v2\nNR"),
           AT(43, "a call of _rebuild_tensor_v2: expected a tuple of arguments, found None")),
    UNSUPPORTED(DICT(W, "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("K\4") "K\0))\x89N}" TEXT(
                            "\4", "conj") "\x88stR"),
                AT(113, "_rebuild_tensor_v2: a tensor that is stored negated or conjugated")),
    FORMAT(DICT(W, "ctorch._utils\n_rebuild_tensor_v3\n(" STORAGE("K\4") "K\0))\x89NNtR"),
           AT(102, "argument 7 of _rebuild_tensor_v3: expected an element type, found None")),
    FORMAT(DICT(W, "ctorch._utils\n_rebuild_parameter\n(N\x88NtR"),
           AT(47, "argument 1 of _rebuild_parameter: expected a tensor, found None")),
    FORMAT(DICT(W, "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\nN)}tR"),
           AT(88, "argument 1 of _rebuild_from_type_v2: expected another function, found a name")),
    FORMAT(DICT(W, TENSOR(STORAGE("K\4"), "K\0", ")", ")") "}b"),
           AT(129, "BUILD: expected an object, found a tensor")),
    FORMAT(P "}(" W TENSOR(STORAGE("K\4"), "K\0", ")", ")") "q\1" W "h\1u.", "m: tensor 'w' is there twice"),
    FORMAT(DICT(TEXT("\2", "\xff\xff"), TENSOR(STORAGE("K\4"), "K\0", ")", ")")),
           "m: expected names of at most 512 bytes of UTF-8 without NUL, found a tensor with another"),
    FORMAT(DICT(TEXT("\3", "w\0w"), TENSOR(STORAGE("K\4"), "K\0", ")", ")")),
           "m: expected names of at most 512 bytes of UTF-8 without NUL, found a tensor with another"),
};

static const broken_pickle others[] = {
    FORMAT(P "ccollections\nOrderedDict\nK\1\x85R.",
           AT(30, "argument 1 of OrderedDict: expected a list of pairs, found a whole number")),
    FORMAT(P "ccollections\nOrderedDict\n]]N\x85"
             "aa\x85R.",
           AT(34, "argument 1 of OrderedDict: expected a list of pairs, found a list")),
    FORMAT(P "ctorch.nn.modules.container\nParameterDict\n)\x81Nb.",
           AT(47, "ParameterDict: expected a dict as its state, found None")),
    UNSUPPORTED(P "c_codecs\nencode\n" W TEXT("\4", "utf8") "\x86R.",
                AT(34, "encode: expected latin1, found another encoding")),
    FORMAT(P "c_codecs\nencode\n" TEXT("\2", "\xc4\x80") TEXT("\6", "latin1") "\x86R.",
           AT(37, "encode: the string has a character that is not Latin-1")),
    FORMAT(P "c_codecs\nencode\n" TEXT("\1", "\xc3") TEXT("\6", "latin1") "\x86R.",
           AT(36, "encode: the string has a character that is not Latin-1")),
    UNSUPPORTED(P NUMPY_DTYPE("O8") ".",
                AT(25, "dtype: expected numbers (f4, i8 and so on), found another type")),
    UNSUPPORTED(P NUMPY_DTYPE("f4") ORDER(">") ".",
                AT(51, "dtype: expected little-endian numbers, found another order")),
    FORMAT(P NUMPY_DTYPE("f4") "Nb.", AT(27, "dtype: expected a tuple with its byte order, found None")),
    FORMAT(P "cnumpy.core.multiarray\nscalar\n" NUMPY_DTYPE("f4") "C\3abc\x86R.",
           AT(62, "scalar: expected 4 bytes, found 3")),
    FORMAT(P "cnumpy.core.multiarray\nscalar\nNN\x86R.",
           AT(35, "argument 1 of scalar: expected a numpy dtype, found None")),
    FORMAT(DICT(W, ARRAY), "m: tensor 'w': a numpy array without its numbers"),
    FORMAT(DICT(W, ARRAY "(K\1K\3\x85" NUMPY_DTYPE("f4") "\x89"
                                                         "C\4abcdtb"),
           AT(109, "ndarray: expected 12 bytes, found 4")),
    FORMAT(DICT(W, ARRAY "(K\1" HUGE "\x85" NUMPY_DTYPE("f4") "\x89"
                                                              "C\4abcdtb"),
           AT(117, "ndarray: a shape whose size is 2^61 bytes or more")),
    FORMAT(DICT(W, ARRAY ")b"), AT(72, "ndarray: expected a state of 5 items, found a tuple")),
    UNSUPPORTED(DICT(W, "ctorch._utils\n_rebuild_device_tensor_from_numpy\n(" ARRAY
                        "(K\1K\1\x85" NUMPY_DTYPE("f4") "\x89"
                                                        "C\4abcdtb"
                                                        "ctorch\nfloat16\n" TEXT("\3", "mps") "\x89tR"),
                AT(184, "_rebuild_device_tensor: expected F32 as the array has it, found F16")),
};

static void assert_pickles_refused(const broken_pickle *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        archive a = {0};
        add_pickle(&a, rows[i].pickle, rows[i].size);
        finish(&a);
        assert_refused(&a.bytes, rows[i].status, rows[i].message);
        sd_str_clear(&a.bytes);
    }
}

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static void broken_pickles_are_explained(void **state) {
    (void)state;
    assert_pickles_refused(names, COUNT(names));
    assert_pickles_refused(machine, COUNT(machine));
    assert_pickles_refused(storages, COUNT(storages));
    assert_pickles_refused(tensors, COUNT(tensors));
    assert_pickles_refused(others, COUNT(others));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_pickles_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
