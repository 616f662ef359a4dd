#compdef sdvk
# The options come from `sdvk COMMAND --help`, so that they are always the program's own.
_sdvk() {
    local help before=${words[CURRENT-1]} word=${words[CURRENT]}
    if ((CURRENT == 2)); then
        compadd -- generate devices info models convert merge bench audit --help --version
        return
    fi
    help="$(${words[1]} ${words[2]} --help 2>/dev/null)"
    if [[ $word == -* ]]; then
        compadd -- ${(f)"$(print -r -- $help | grep -oE '^ +(-., )?--[a-z0-9-]+' | grep -oE -- '--.*')"}
        return
    fi
    case $before in
    --precision) compadd auto f32 f16 ;;
    --lora-mode) compadd merge runtime ;;
    --network) compadd text unet decode encode ;;
    --op) compadd -- ${=$(print -r -- $help | sed -n 's/^ops://p')} ;;
    --type) compadd -- ${=$(print -r -- $help | sed -n 's/^types://p')} ;;
    --prediction) compadd epsilon v ;;
    --sampler|--schedule|--rng)
        compadd -- ${=$(print -r -- $help | grep "^ *$before " | sed 's/; default: .*//; s/.*: //')}
        ;;
    *) _files ;;
    esac
}
_sdvk "$@"
