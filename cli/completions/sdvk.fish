# fish completion for sdvk. The options come from `sdvk COMMAND --help`, so that they are always the program's own.
function __sdvk_command
    set -l words (commandline -opc)
    test (count $words) -ge 2; and echo $words[2]
end

function __sdvk_options
    sdvk (__sdvk_command) --help 2>/dev/null | string match -rg -- '^ +(?:-., )?(--[a-z0-9-]+)'
end

function __sdvk_choices
    sdvk (__sdvk_command) --help 2>/dev/null | string match -r -- "^ *--$argv[1] .*" |
        string replace -r '; default: .*' '' | string replace -r '.*: ' '' | string split ' '
end

complete -c sdvk -n 'test -z (__sdvk_command)' -f -a 'generate devices info models convert merge bench audit --help --version'
complete -c sdvk -n 'test -n (__sdvk_command); and string match -q -- "-*" (commandline -ct)' -f -a '(__sdvk_options)'
for name in sampler schedule rng
    complete -c sdvk -n 'test "$(__sdvk_command)" = generate' -l $name -x -a "(__sdvk_choices $name)"
end
complete -c sdvk -n 'test "$(__sdvk_command)" = generate' -l precision -x -a 'auto f32 f16'
complete -c sdvk -n 'test "$(__sdvk_command)" = generate' -l prediction -x -a 'epsilon v'
complete -c sdvk -n 'test "$(__sdvk_command)" = generate' -l lora-mode -x -a 'merge runtime'
complete -c sdvk -n 'test "$(__sdvk_command)" = bench' -l network -x -a 'text unet decode encode'
complete -c sdvk -n 'test "$(__sdvk_command)" = bench' -l op -x -a '(sdvk bench --help | string replace -fr "^ops: " "" | string split " ")'
for name in convert merge
    complete -c sdvk -n "test \"\$(__sdvk_command)\" = $name" -l type -x -a "(sdvk $name --help | string replace -fr '^types: ' '' | string split ' ')"
end
