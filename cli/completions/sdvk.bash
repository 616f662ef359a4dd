# bash completion for sdvk. The options come from `sdvk COMMAND --help`, so that they are always the program's own.
_sdvk() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]} help
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "generate devices info models convert merge bench audit --help --version" -- "$word")
        return
    fi
    help=$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null)
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(grep -oE '^ +(-., )?--[a-z0-9-]+' <<<"$help" | grep -oE -- '--.*')" \
            -- "$word")
        return
    fi
    case $before in
    --precision) mapfile -t COMPREPLY < <(compgen -W "auto f32 f16" -- "$word") ;;
    --lora-mode) mapfile -t COMPREPLY < <(compgen -W "merge runtime" -- "$word") ;;
    --network) mapfile -t COMPREPLY < <(compgen -W "text unet decode encode" -- "$word") ;;
    --op) mapfile -t COMPREPLY < <(compgen -W "$(sed -n 's/^ops://p' <<<"$help")" -- "$word") ;;
    --type) mapfile -t COMPREPLY < <(compgen -W "$(sed -n 's/^types://p' <<<"$help")" -- "$word") ;;
    --prediction) mapfile -t COMPREPLY < <(compgen -W "epsilon v" -- "$word") ;;
    --sampler | --schedule | --rng)
        mapfile -t COMPREPLY < <(compgen -W "$(grep "^ *$before " <<<"$help" | sed 's/; default: .*//; s/.*: //')" \
            -- "$word")
        ;;
    *)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        compopt -o filenames 2>/dev/null
        ;;
    esac
}
complete -F _sdvk sdvk
