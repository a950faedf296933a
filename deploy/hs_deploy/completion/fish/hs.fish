# Completion of hs and of all its programs in fish. Not installed? hs completion fish | source

function __hs_complete
    set -l hs hs
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l prefix
    # A program that was called by its path is asked there.
    if string match -q '*/*' -- $before[1]
        set hs (string replace -r '[^/]*$' hs -- $before[1])
    end
    if set -l parts (string match -r -- '^(--[^=]+)=(.*)$' $current)
        set before $before $parts[2]
        set prefix $parts[2]=
        set current $parts[3]
    end
    $hs completion fish -- $before "$current" 2>/dev/null | while read -l -d \t kind value help
        switch $kind
            case word
                printf '%s\t%s\n' "$prefix$value" "$help"
            case file
                for path in (__fish_complete_path $current)
                    echo "$prefix$path"
                end
        end
    end
end

for program in hs hyper-shell hs-cluster hs-broker hs-scheduler hs-worker
    complete -c $program -f -a '(__hs_complete)'
end
